//! The ids of the events handled last, kept in a file so that a restart knows them, too.
//!
//! It serves one process. Where several share the work, or handling writes to a database, keep the
//! ids in that database.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;

/// So many ids are remembered at least, and twice as many at most. With one event at a time, the
/// one delivered again is nearly always the last.
const REMEMBERED_MIN: usize = 10_000;

/// A bounded memory.
pub(crate) struct Seen {
    path: PathBuf,
    file: File,
    order: VecDeque<String>,
    ids: HashSet<String>,
}

impl Seen {
    /// Reads what an earlier life remembered.
    pub(crate) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error.into()),
        };
        let order: VecDeque<String> = text.lines().map(str::to_owned).collect();
        let ids = order.iter().cloned().collect();
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut seen = Self {
            path,
            file,
            order,
            ids,
        };
        seen.shorten()?;
        Ok(seen)
    }

    /// Whether an event was handled already.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Remembers an event; it is on disk when this returns.
    pub(crate) fn add(&mut self, id: &str) -> anyhow::Result<()> {
        self.order.push_back(id.to_owned());
        self.ids.insert(id.to_owned());
        writeln!(self.file, "{id}")?;
        self.file.sync_data()?;
        if self.order.len() >= 2 * REMEMBERED_MIN {
            self.shorten()?;
        }
        Ok(())
    }

    /// Forgets the oldest, in a new file that takes the old one's place at once or not at all.
    fn shorten(&mut self) -> anyhow::Result<()> {
        while self.order.len() > REMEMBERED_MIN {
            if let Some(oldest) = self.order.pop_front() {
                self.ids.remove(&oldest);
            }
        }
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        for id in &self.order {
            writeln!(file, "{id}")?;
        }
        file.sync_data()?;
        fs::rename(&new, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        Ok(())
    }
}
