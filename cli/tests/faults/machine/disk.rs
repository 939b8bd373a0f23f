//! A disk for one node: an ext4 image, whose power can be cut.

use std::{
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::fleet::tool;

/// Cuts the power: the file system takes no more writes, and its journal is not flushed. The
/// number is `EXT4_IOC_SHUTDOWN`, the flag `NOLOGFLUSH`. Unsafe code is forbidden in this
/// workspace, so another language asks.
const CUT: &str = "
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))
";

/// A mounted image. It is unmounted when this is dropped.
pub(crate) struct Disk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes and mounts a disk, or says why this machine cannot.
    pub(crate) fn make(home: &Path, number: usize, mebibytes: u32) -> Result<Self, String> {
        let image = home.join(format!("disk-{number}.img"));
        let mount = home.join(format!("disk-{number}"));
        let file = fs_err::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(u64::from(mebibytes) << 20).map_err(|error| error.to_string())?;
        tool("mkfs.ext4", &["-q", "-F", "-m", "0", text(&image)])?;
        fs_err::create_dir(&mount).map_err(|error| error.to_string())?;
        let mut disk = Self { image, mount, mounted: false };
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.mount
    }

    /// Cuts the power, or says why that cannot be done here. What was not flushed is gone.
    pub(crate) fn cut(&self) -> Result<(), String> {
        tool("python3", &["-c", CUT, text(&self.mount)]).map(drop)
    }

    /// Brings it back after a cut: the file system recovers from its journal. Nobody may use it.
    pub(crate) fn return_power(&mut self) {
        tool("umount", &[text(&self.mount)]).expect("nobody uses the disk");
        self.mounted = false;
        self.mount().expect("the file system recovers");
    }

    fn mount(&mut self) -> Result<(), String> {
        tool("mount", &["-o", "loop", text(&self.image), text(&self.mount)])?;
        self.mounted = true;
        Ok(())
    }

    /// Takes all free space but so many bytes; freed by [`Disk::empty`].
    pub(crate) fn fill_but(&self, left: u64) {
        let file = fs_err::File::create(self.ballast()).expect("the disk has room");
        let zeros = vec![0_u8; 64 * 1024];
        let mut length = 0;
        while let Ok(written @ 1..) = file.file().write_at(&zeros, length) {
            length += written as u64;
        }
        file.set_len(length.saturating_sub(left)).expect("a file can shrink");
        file.sync_all().expect("it is written");
    }

    pub(crate) fn empty(&self) {
        fs_err::remove_file(self.ballast()).expect("the ballast is there");
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Also where a reader lingers; the loop device goes with the mount.
            let _ = tool("umount", &["-l", text(&self.mount)]);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are text")
}
