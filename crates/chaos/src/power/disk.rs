//! A disk that forgets what was not synced, as a tree in memory.
//!
//! A file's bytes and length are safe once the file was synced. What is created, renamed or removed
//! is safe once anything was synced after it, as on file systems with one journal (ext4, XFS). It
//! knows no links and no owners.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;

/// The number of the root.
pub(super) const ROOT: u64 = 1;

/// What there is at a number.
#[derive(Debug, Clone)]
enum Node {
    File(File),
    Folder(BTreeMap<OsString, u64>),
}

#[derive(Debug, Clone, Default)]
struct File {
    data: Vec<u8>,
    /// As of the last sync.
    safe: Vec<u8>,
    /// Bytes that were written since, as ranges.
    written: Vec<(usize, usize)>,
    /// How short it was since.
    shortest: usize,
}

/// What somebody asks about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct About {
    pub(super) number: u64,
    pub(super) is_folder: bool,
    pub(super) len: u64,
}

/// The disk.
#[derive(Debug)]
pub(super) struct Disk {
    nodes: HashMap<u64, Node>,
    /// The names of each folder that would be there after a loss of power.
    safe_names: HashMap<u64, BTreeMap<OsString, u64>>,
    has_new_names: bool,
    next: u64,
    /// What the last losses of power took.
    pub(super) lost_bytes: u64,
}

type Answer<T> = Result<T, ErrorKind>;

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            nodes: HashMap::from([(ROOT, Node::Folder(BTreeMap::new()))]),
            safe_names: HashMap::from([(ROOT, BTreeMap::new())]),
            has_new_names: false,
            next: ROOT + 1,
            lost_bytes: 0,
        }
    }

    /// The power goes: what was not synced is as it was before.
    pub(super) fn lose_power(&mut self) {
        for node in self.nodes.values() {
            if let Node::File(file) = node {
                self.lost_bytes += file.written.iter().map(|(_, len)| *len as u64).sum::<u64>();
            }
        }
        let mut nodes = HashMap::new();
        for (folder, names) in &self.safe_names {
            for number in names.values() {
                if let Some(Node::File(file)) = self.nodes.get(number) {
                    let safe = File {
                        data: file.safe.clone(),
                        safe: file.safe.clone(),
                        written: Vec::new(),
                        shortest: file.safe.len(),
                    };
                    nodes.insert(*number, Node::File(safe));
                }
            }
            nodes.insert(*folder, Node::Folder(names.clone()));
        }
        self.nodes = nodes;
        self.has_new_names = false;
    }

    /// Makes a file safe, or only the names.
    pub(super) fn sync(&mut self, number: u64) -> Answer<()> {
        match self.nodes.get_mut(&number).ok_or(ErrorKind::NotFound)? {
            Node::File(file) => file.sync(),
            Node::Folder(_) => {}
        }
        if self.has_new_names {
            self.safe_names.clear();
            for (number, node) in &self.nodes {
                if let Node::Folder(names) = node {
                    self.safe_names.insert(*number, names.clone());
                }
            }
            self.has_new_names = false;
        }
        Ok(())
    }

    /// Makes everything safe.
    pub(super) fn sync_all(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File(file) = node {
                file.sync();
            }
        }
        // The root is always there.
        let _ = self.sync(ROOT);
    }

    pub(super) fn about(&self, number: u64) -> Answer<About> {
        let node = self.nodes.get(&number).ok_or(ErrorKind::NotFound)?;
        Ok(About {
            number,
            is_folder: matches!(node, Node::Folder(_)),
            len: match node {
                Node::File(file) => file.data.len() as u64,
                Node::Folder(_) => 0,
            },
        })
    }

    pub(super) fn find(&self, folder: u64, name: &OsStr) -> Answer<About> {
        let number = self.names(folder)?.get(name).copied();
        self.about(number.ok_or(ErrorKind::NotFound)?)
    }

    pub(super) fn list(&self, folder: u64) -> Answer<Vec<(OsString, About)>> {
        let names = self.names(folder)?.iter();
        names
            .map(|(name, number)| Ok((name.clone(), self.about(*number)?)))
            .collect()
    }

    pub(super) fn create(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Answer<About> {
        let number = self.next;
        let names = self.names_mut(folder)?;
        if names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists);
        }
        names.insert(name.to_owned(), number);
        let node = if is_folder {
            Node::Folder(BTreeMap::new())
        } else {
            Node::File(File::default())
        };
        self.nodes.insert(number, node);
        self.next += 1;
        self.about(number)
    }

    pub(super) fn remove(&mut self, folder: u64, name: &OsStr) -> Answer<()> {
        let about = self.find(folder, name)?;
        if about.is_folder && !self.names(about.number)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty);
        }
        self.names_mut(folder)?.remove(name);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Answer<()> {
        let number = self.find(from.0, from.1)?.number;
        if let Ok(other) = self.find(to.0, to.1)
            && other.is_folder
            && !self.names(other.number)?.is_empty()
        {
            return Err(ErrorKind::DirectoryNotEmpty);
        }
        self.names_mut(from.0)?.remove(from.1);
        self.names_mut(to.0)?.insert(to.1.to_owned(), number);
        Ok(())
    }

    pub(super) fn read(&self, number: u64, offset: u64, len: usize) -> Answer<&[u8]> {
        let data = &self.file(number)?.data;
        let from = index(offset)?.min(data.len());
        Ok(&data[from..from.saturating_add(len).min(data.len())])
    }

    pub(super) fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Answer<()> {
        let file = self.file_mut(number)?;
        let from = index(offset)?;
        let until = from + bytes.len();
        if file.data.len() < until {
            file.data.resize(until, 0);
        }
        file.data[from..until].copy_from_slice(bytes);
        file.written.push((from, bytes.len()));
        Ok(())
    }

    pub(super) fn cut(&mut self, number: u64, len: u64) -> Answer<()> {
        let len = index(len)?;
        let file = self.file_mut(number)?;
        file.data.resize(len, 0);
        // What grows in its place later is read from there, not from what was safe before.
        file.shortest = file.shortest.min(len);
        Ok(())
    }

    fn file(&self, number: u64) -> Answer<&File> {
        match self.nodes.get(&number) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(ErrorKind::IsADirectory),
            None => Err(ErrorKind::NotFound),
        }
    }

    fn file_mut(&mut self, number: u64) -> Answer<&mut File> {
        match self.nodes.get_mut(&number) {
            Some(Node::File(file)) => Ok(file),
            Some(Node::Folder(_)) => Err(ErrorKind::IsADirectory),
            None => Err(ErrorKind::NotFound),
        }
    }

    fn names(&self, folder: u64) -> Answer<&BTreeMap<OsString, u64>> {
        match self.nodes.get(&folder) {
            Some(Node::Folder(names)) => Ok(names),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory),
            None => Err(ErrorKind::NotFound),
        }
    }

    fn names_mut(&mut self, folder: u64) -> Answer<&mut BTreeMap<OsString, u64>> {
        match self.nodes.get_mut(&folder) {
            Some(Node::Folder(names)) => {
                self.has_new_names = true;
                Ok(names)
            }
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory),
            None => Err(ErrorKind::NotFound),
        }
    }
}

impl File {
    fn sync(&mut self) {
        self.safe.truncate(self.shortest);
        self.safe.resize(self.data.len(), 0);
        self.shortest = self.data.len();
        for (from, len) in self.written.drain(..) {
            // It may have been cut since.
            let until = (from + len).min(self.data.len());
            let from = from.min(until);
            self.safe[from..until].copy_from_slice(&self.data[from..until]);
        }
    }
}

fn index(at: u64) -> Answer<usize> {
    usize::try_from(at).map_err(|_| ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> OsString {
        OsString::from(text)
    }

    #[test]
    fn what_was_synced_is_there_after_a_loss_of_power_and_the_rest_is_not() {
        let mut disk = Disk::new();
        let file = disk.create(ROOT, &name("a"), false).unwrap().number;
        disk.write(file, 0, b"safe").unwrap();
        disk.sync(file).unwrap();
        disk.write(file, 4, b" lost").unwrap();
        disk.write(file, 0, b"XX").unwrap();
        disk.lose_power();
        assert_eq!(disk.read(file, 0, 99).unwrap(), b"safe");
        assert_eq!(disk.lost_bytes, 7);
    }

    #[test]
    fn a_file_that_was_never_synced_is_gone_or_empty() {
        let mut disk = Disk::new();
        let one = disk.create(ROOT, &name("one"), false).unwrap().number;
        disk.write(one, 0, b"bytes").unwrap();
        disk.lose_power();
        assert!(disk.find(ROOT, &name("one")).is_err());

        let two = disk.create(ROOT, &name("two"), false).unwrap().number;
        disk.write(two, 0, b"bytes").unwrap();
        disk.sync(ROOT).unwrap();
        disk.lose_power();
        assert_eq!(disk.read(two, 0, 99).unwrap(), b"");
    }

    #[test]
    fn a_removal_and_a_new_name_are_undone_unless_something_was_synced_after_them() {
        for is_synced in [false, true] {
            let mut disk = Disk::new();
            let file = disk.create(ROOT, &name("old"), false).unwrap().number;
            disk.sync(file).unwrap();
            let (old, new) = (name("old"), name("new"));
            disk.rename((ROOT, &old), (ROOT, &new)).unwrap();
            if is_synced {
                disk.sync(file).unwrap();
            }
            disk.lose_power();
            assert_eq!(disk.find(ROOT, &new).is_ok(), is_synced);
            assert_eq!(disk.find(ROOT, &old).is_ok(), !is_synced);
        }
    }

    #[test]
    fn a_cut_file_grows_with_zeros() {
        let mut disk = Disk::new();
        let file = disk.create(ROOT, &name("a"), false).unwrap().number;
        disk.write(file, 0, b"bytes").unwrap();
        disk.sync(file).unwrap();
        disk.cut(file, 2).unwrap();
        disk.write(file, 4, b"!").unwrap();
        disk.sync(file).unwrap();
        disk.lose_power();
        assert_eq!(disk.read(file, 0, 99).unwrap(), b"by\0\0!");
    }
}
