//! The disk as the kernel sees it, by FUSE.
//!
//! Nothing is cached above it: what the kernel would still know after a loss of power, it never
//! knew.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem,
    FopenFlags, Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use tempfile::TempDir;

use super::disk::{About, Disk};

/// Nobody may rely on what was said before.
const FOR_NO_TIME: Duration = Duration::ZERO;

const BLOCK_BYTES: u32 = 4096;

/// How large it claims to be, in blocks.
const BLOCKS_COUNT: u64 = 1 << 20;

/// Of `open(2)` on Linux: each write is to be synced.
const SYNC_FLAGS: i32 = 0o4_010_000;

/// Of `open(2)` on Linux: what is there is cut.
const CUT_FLAG: i32 = 0o1_000;

/// A folder on a disk whose power can be taken. Dropping it takes the disk away.
#[derive(Debug)]
pub(super) struct Mounted {
    disk: Arc<Mutex<Disk>>,
    // Unmounted before its folder goes.
    _session: BackgroundSession,
    folder: TempDir,
}

impl Mounted {
    /// Mounts an empty disk.
    pub(super) fn mount() -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("casement-power-")?;
        let disk = Arc::new(Mutex::new(Disk::new()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("casement-power".to_owned())];
        let session = fuser::spawn_mount(Faces(Arc::clone(&disk)), folder.path(), &config)
            .context("no file system of ours can be mounted: it needs /dev/fuse, and root")?;
        Ok(Self {
            disk,
            _session: session,
            folder,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes the power. Whoever writes there is to be killed before.
    pub(super) fn lose_power(&self) {
        lock(&self.disk).lose_power();
    }

    /// Makes everything safe that was written so far.
    pub(super) fn sync_all(&self) {
        lock(&self.disk).sync_all();
    }

    /// Returns how many bytes all losses together took.
    pub(super) fn lost_bytes(&self) -> u64 {
        lock(&self.disk).lost_bytes
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk, as FUSE asks it.
struct Faces(Arc<Mutex<Disk>>);

fn attributes(about: About) -> FileAttr {
    FileAttr {
        ino: INodeNo(about.number),
        size: about.len,
        blocks: about.len.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: kind(about),
        perm: if about.is_folder { 0o755 } else { 0o644 },
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn kind(about: About) -> FileType {
    if about.is_folder {
        FileType::Directory
    } else {
        FileType::RegularFile
    }
}

/// What the kernel calls it; the library knows kinds of errors by no number.
fn errno(error: ErrorKind) -> Errno {
    match error {
        ErrorKind::NotFound => Errno::ENOENT,
        ErrorKind::AlreadyExists => Errno::EEXIST,
        ErrorKind::DirectoryNotEmpty => Errno::ENOTEMPTY,
        ErrorKind::IsADirectory => Errno::EISDIR,
        ErrorKind::NotADirectory => Errno::ENOTDIR,
        ErrorKind::InvalidInput => Errno::EINVAL,
        _ => Errno::EIO,
    }
}

fn entry(reply: ReplyEntry, answer: Result<About, ErrorKind>) {
    match answer {
        Ok(about) => reply.entry(&FOR_NO_TIME, &attributes(about), Generation(0)),
        Err(error) => reply.error(errno(error)),
    }
}

fn empty(reply: ReplyEmpty, answer: Result<(), ErrorKind>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

impl Filesystem for Faces {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(reply, lock(&self.0).find(parent.0, name));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match lock(&self.0).about(ino.0) {
            Ok(about) => reply.attr(&FOR_NO_TIME, &attributes(about)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = lock(&self.0);
        let cut = size.map_or(Ok(()), |size| disk.cut(ino.0, size));
        match cut.and_then(|()| disk.about(ino.0)) {
            Ok(about) => reply.attr(&FOR_NO_TIME, &attributes(about)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        entry(reply, lock(&self.0).create(parent.0, name, true));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, lock(&self.0).remove(parent.0, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, lock(&self.0).remove(parent.0, name));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let renamed = lock(&self.0).rename((parent.0, name), (newparent.0, newname));
        empty(reply, renamed);
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & CUT_FLAG != 0 {
            // The kernel asks for it by itself, unless told that we do: then this is that.
            let _ = lock(&self.0).cut(ino.0, 0);
        }
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match lock(&self.0).create(parent.0, name, false) {
            Ok(about) => reply.created(
                &FOR_NO_TIME,
                &attributes(about),
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let len = usize::try_from(size).unwrap_or(usize::MAX);
        match lock(&self.0).read(ino.0, offset, len) {
            Ok(bytes) => reply.data(bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut disk = lock(&self.0);
        let mut written = disk.write(ino.0, offset, data);
        if flags.0 & SYNC_FLAGS != 0 {
            written = written.and_then(|()| disk.sync(ino.0));
        }
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // A close syncs nothing.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, lock(&self.0).sync(ino.0));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(reply, lock(&self.0).sync(ino.0));
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = match lock(&self.0).list(ino.0) {
            Ok(listed) => listed,
            Err(error) => return reply.error(errno(error)),
        };
        for (place, (name, about)) in (1_u64..).zip(listed) {
            if place > offset && reply.add(INodeNo(about.number), place, kind(about), name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(
            BLOCKS_COUNT,
            BLOCKS_COUNT,
            BLOCKS_COUNT,
            0,
            BLOCKS_COUNT,
            BLOCK_BYTES,
            255,
            BLOCK_BYTES,
        );
    }
}
