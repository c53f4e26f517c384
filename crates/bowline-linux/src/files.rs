//! Reading small files, and the few writes that open-iscsi's database needs.
//!
//! This process is root and paths come from above the seam, so writes are confined to the places they are
//! for: records below open-iscsi's two directories, and its lock.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bowline_host::HostError;
use bowline_host::names::DevNumber;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::Errno;

use crate::database_lock;
use crate::replace::{absent_is_none, remove_leftovers, replace};

/// An attribute is at most a page, a node record a few kilobytes, a large udev entry some tens; but multipath's wwids file keeps
/// a line of some forty bytes of every volume that ever was attached.
pub(crate) const MOST: u64 = 32 << 20;

/// The most an attribute of sysfs can be.
const PAGE: usize = 4096;

/// Where releases and distributions keep the node database.
const DATABASES: [&str; 2] = ["/etc/iscsi", "/var/lib/iscsi"];

/// Reads a file of at most 32 MiB.
pub(crate) fn read(path: &str) -> io::Result<Vec<u8>> {
    // O_NONBLOCK: should the path name a FIFO or a device, opening it must not wait. Files do not mind it.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
    let mut bytes = vec![0; PAGE];
    let first = file.read(&mut bytes)?;
    bytes.truncate(first);
    // An attribute comes whole in one read (Linux 6.1 `fs/sysfs/file.c`): asking for its end costs as much again.
    if first < PAGE && path.starts_with("/sys/") {
        return Ok(bytes);
    }
    file.take(MOST + 1 - first as u64).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MOST {
        true => Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 32 MiB")),
        false => Ok(bytes),
    }
}

/// The names in a directory, sorted; those that are no UTF-8 are left out.
pub(crate) fn list(path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Where a symbolic link points, as it is written.
pub(crate) fn read_link(path: &str) -> io::Result<String> {
    let target = fs::read_link(path)?;
    String::from_utf8(target.as_os_str().as_bytes().to_vec())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the link's target is no UTF-8"))
}

/// The number of the block device whose node a path leads to.
///
/// What a process has open may lie on NFS or FUSE, whose server is dead. So what is asked for is the type alone, and no server for it
/// (`AT_STATX_DONT_SYNC`: Linux 6.1 `fs/nfs/inode.c` `nfs_getattr`, `fs/fuse/dir.c` `fuse_update_get_attr`). A walk through
/// `/proc/PID/fd/N` ends at the open file itself, whose name nobody looks up again (`fs/proc/base.c` `proc_pid_get_link`); NFS then
/// asks its server only about a file that it knows to be removed (`fs/nfs/dir.c` `nfs_weak_revalidate`). GFS2 and OCFS2 know no
/// such flag: while their cluster stands still, so does this, at a file of theirs that somebody has open.
///
/// Any other path, also below `/proc/PID/root`, is walked through what the kernel has at hand, or not at all (`RESOLVE_CACHED`, since Linux 5.12): whatever a loop
/// device or swap keeps open is at hand, with all the directories above it. `O_PATH` does not open the device.
pub(crate) fn device_of(path: &str) -> io::Result<Option<DevNumber>> {
    let (quietly, kind) = (AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE);
    let seen = match (path.starts_with("/proc/"), path.split_once("/root/")) {
        (true, None) => statx(CWD, path, quietly, kind)?,
        (true, Some((process, inside))) => {
            let root = openat2(CWD, format!("{process}/root"), FOUND, Mode::empty(), ResolveFlags::empty())?;
            statx(at_hand(&root, inside)?, "", quietly | AtFlags::EMPTY_PATH, kind)?
        }
        (false, _) => statx(at_hand(CWD, path)?, "", quietly | AtFlags::EMPTY_PATH, kind)?,
    };
    let is_block = FileType::from_raw_mode(seen.stx_mode.into()).is_block_device();
    Ok(is_block.then_some(DevNumber { major: seen.stx_rdev_major, minor: seen.stx_rdev_minor }))
}

/// A place, with nothing opened that is there.
const FOUND: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// A rename anywhere on the host may keep the kernel from finding at once what is there (`fs/namei.c` `lookup_fast`).
fn at_hand(below: impl AsFd, path: &str) -> rustix::io::Result<OwnedFd> {
    let find = || openat2(below.as_fd(), path, FOUND, Mode::empty(), ResolveFlags::CACHED);
    let again = |found: &rustix::io::Result<OwnedFd>| matches!(found, Err(Errno::AGAIN));
    (0..3).map(|_| find()).find(|found| !again(found)).unwrap_or(Err(Errno::AGAIN))
}

/// Replaces a node record whole (0600), durably.
pub(crate) fn replace_file(path: &str, bytes: &[u8]) -> Result<(), HostError> {
    replace_below(&DATABASES.map(Path::new), Path::new(path), bytes)
        .map_err(|error| HostError::io("replace", path, error))
}

/// The temporary file goes to the database's top directory: open-iscsi reads every file in a portal's
/// directory as a record (2.1.8 `idbm_for_each_iface`), so a crash must not leave one there. Symbolic links
/// are resolved first, since some distributions link one of the two directories into the other, and a rename
/// cannot cross file systems. Where the nodes are a file system of their own (a container's mount), it goes to the
/// target's directory: what has no comma in its name is no portal to open-iscsi (2.1.8 `idbm_for_each_portal`).
fn replace_below(roots: &[&Path], path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (root, path) = confined(roots, path)?;
    match (replace(&root, &path, bytes), target_directory(&root, &path)) {
        (Err(error), Some(target)) if error.kind() == io::ErrorKind::CrossesDevices => {
            replace(&target, &path, bytes)
        }
        (replaced, _) => replaced,
    }
}

/// `nodes/TARGET` of a record below it.
fn target_directory(root: &Path, record: &Path) -> Option<PathBuf> {
    let mut below = record.strip_prefix(root).ok()?.iter();
    let target = root.join(below.next()?).join(below.next()?);
    below.next().is_some().then_some(target)
}

/// The path with no link in its directories, and the root that it lies below.
fn confined(roots: &[&Path], path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let refuse = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return refuse("the path names no file");
    };
    let parent = parent.canonicalize()?;
    let mut real_roots = roots.iter().filter_map(|root| root.canonicalize().ok());
    match real_roots.find(|root| parent.starts_with(root)) {
        Some(root) => Ok((root, parent.join(name))),
        None => refuse("only files of open-iscsi's database may be changed"),
    }
}

/// Lets go of open-iscsi's database lock, or removes a record of the database.
pub(crate) fn remove_file(path: &str) -> io::Result<()> {
    match database_lock::place(path) {
        Ok(lock) => fs::remove_file(lock),
        Err(_) => remove_below(&DATABASES.map(|root| Path::new(root).join("nodes")), Path::new(path)),
    }
}

/// Removes a record, and as iscsiadm does, the directory that it was the last one in, also where the record has gone already; and
/// wherever [`replace_below`] may have put one, the temporary files of who died while it changed a record: they may hold secrets.
fn remove_below(roots: &[PathBuf], path: &Path) -> io::Result<()> {
    let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
    let (root, path) = confined(&roots, path)?;
    let removed = absent_is_none(fs::remove_file(&path))?;
    let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&root));
    folders.chain(root.parent()).try_for_each(remove_leftovers)?;
    match path.parent().map_or(Ok(()), fs::remove_dir) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => removed.ok_or_else(|| io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("bowline-files-{}-{name}", std::process::id()));
        fs::create_dir_all(dir.join("nodes/iqn/portal")).unwrap();
        dir
    }

    #[test]
    fn a_record_is_replaced_with_mode_0600_and_nothing_else_remains() {
        let root = scratch("replace");
        let record = root.join("nodes/iqn/portal/default");
        fs::write(&record, "old").unwrap();
        fs::write(root.join(".bowline-999999999-0"), "left by a crash").unwrap();
        replace_below(&[&root], &record, b"new").unwrap();
        assert_eq!(fs::read(&record).unwrap(), b"new");
        assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(list(root.to_str().unwrap()).unwrap(), ["nodes"]);
        assert_eq!(list(root.join("nodes/iqn/portal").to_str().unwrap()).unwrap(), ["default"]);
        fs::remove_dir_all(root).unwrap();
    }

    /// D7: neither name nor place of a node matters, only what it is the node of.
    #[test]
    fn d7_a_block_device_is_known_by_any_node_of_it() {
        use std::os::fd::AsRawFd;
        let root = scratch("nodes");
        let file = File::create(root.join("file")).unwrap();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let null = File::open("/dev/null").unwrap();
        for fd in [file.as_raw_fd(), one.as_raw_fd(), other.as_raw_fd(), null.as_raw_fd()] {
            assert_eq!(device_of(&format!("/proc/self/fd/{fd}")).unwrap(), None);
        }
        assert_eq!(device_of("/dev/null").unwrap(), None);
        assert!(device_of("/proc/self/fd/9999").is_err());
        let node = root.join("alias");
        let number = rustix::fs::makedev(7, 77);
        match rustix::fs::mknodat(CWD, &node, FileType::BlockDevice, Mode::RUSR, number) {
            Ok(()) => {}
            // Not root. The laboratory's case in-use-single does the same to a real disk.
            Err(Errno::PERM | Errno::ACCESS) => return fs::remove_dir_all(root).unwrap(),
            Err(error) => panic!("{error}"),
        }
        let number = Some(DevNumber { major: 7, minor: 77 });
        assert_eq!(device_of(node.to_str().unwrap()).unwrap(), number);
        assert_eq!(device_of(&format!("/proc/self/root{}", node.display())).unwrap(), number);
        // The device itself does not exist, so the node can only be held as a path.
        let held = at_hand(CWD, node.to_str().unwrap()).unwrap();
        fs::remove_file(&node).unwrap();
        assert_eq!(device_of(&format!("/proc/self/fd/{}", held.as_raw_fd())).unwrap(), number);
        assert!(device_of(node.to_str().unwrap()).is_err());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_record_lies_in_its_targets_directory() {
        let of = |record: &str| target_directory(Path::new("/etc/iscsi"), Path::new(record));
        let target = Some("/etc/iscsi/nodes/iqn.a".into());
        assert_eq!(of("/etc/iscsi/nodes/iqn.a/10.0.0.1,3260"), target);
        assert_eq!(of("/etc/iscsi/nodes/iqn.a/10.0.0.1,3260,1/default"), target);
        assert_eq!(of("/etc/iscsi/nodes/iqn.a"), None);
        assert_eq!(of("/etc/passwd"), None);
    }

    #[test]
    fn a_path_that_leads_out_of_the_database_is_refused() {
        let root = scratch("outside");
        let inner = root.join("nodes");
        for path in [root.join("nodes/../file"), root.join("file"), PathBuf::from("/")] {
            let error = replace_below(&[&inner], &path, b"x").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{path:?}");
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_record_is_removed_with_its_directory_and_nothing_outside() {
        let root = scratch("remove");
        let roots = [root.join("nodes")];
        let portal = root.join("nodes/iqn/portal");
        fs::write(portal.join("default"), "").unwrap();
        fs::write(portal.join("iser"), "").unwrap();
        fs::write(root.join("other"), "").unwrap();
        fs::write(portal.join(".bowline-999999999-0"), "left by a crash").unwrap();
        remove_below(&roots, &portal.join("default")).unwrap();
        assert_eq!(list(portal.to_str().unwrap()).unwrap(), ["iser"]);
        let temporary = [root.join(".bowline-999999999-0"), root.join("nodes/iqn/.bowline-999999999-1")];
        temporary.iter().for_each(|file| fs::write(file, "left by who died").unwrap());
        remove_below(&roots, &portal.join("iser")).unwrap();
        assert!(temporary.iter().all(|file| !file.exists()));
        assert!(!portal.exists() && root.join("nodes/iqn").exists());
        // Who removed the last record was killed before its directory went.
        fs::create_dir(&portal).unwrap();
        let error = remove_below(&roots, &portal.join("iser")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!portal.exists(), "the directory is empty");
        for path in [root.join("other"), root.join("nodes/../other")] {
            let error = remove_below(&roots, &path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{path:?}");
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn a_large_file_is_refused_and_a_directory_is_an_error() {
        let root = scratch("large");
        let path = root.join("large");
        // A wwids file of a host that has attached fifty thousand volumes.
        File::create(&path).unwrap().set_len(2 << 20).unwrap();
        assert_eq!(read(path.to_str().unwrap()).unwrap().len(), 2 << 20);
        File::create(&path).unwrap().set_len(MOST + 1).unwrap();
        assert_eq!(read(path.to_str().unwrap()).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(read(root.to_str().unwrap()).is_err());
        fs::remove_dir_all(root).unwrap();
    }
}
