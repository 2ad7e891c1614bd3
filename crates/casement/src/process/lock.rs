//! One process at a time for a folder of data.
//!
//! The lock goes with the process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use anyhow::{Context as _, bail};

const NAME: &str = "lock";

/// Takes the folder for as long as the file is held.
pub(super) fn take(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(NAME);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("{} cannot be opened", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!(
            "{} is in use by another `casement up`: stop that one, or choose another folder with \
             --data-dir",
            folder.display()
        ),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} cannot be locked", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = take(folder.path()).unwrap();
        let error = take(folder.path()).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
        drop(first);
        take(folder.path()).unwrap();
    }
}
