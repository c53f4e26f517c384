//! The guest's image, cached by content in `.lab`: a root folder from packages, and the boot files from it.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab_wire::{Context, Failure};

use super::recipe::{DISK_SIZE, MKE2FS, Recipe};
use super::steps::Steps;
use super::{Stop, command, initrd, tools};

/// The files that QEMU boots.
pub struct Image {
    /// The kernel.
    pub kernel: PathBuf,
    /// The initrd.
    pub initrd: PathBuf,
    /// The root disk; never written to.
    pub disk: PathBuf,
}

/// The image of the recipe: from the cache, or built now.
pub fn ready(repo: &Path, recipe: &Recipe, steps: &mut Steps) -> Result<Image, Stop> {
    let cache = repo.join(".lab");
    fs::create_dir_all(&cache).context(|| format!("cannot make {}", cache.display()))?;
    let boot = cache.join(format!("boot-{}-{}", recipe.suite, recipe.boot_key()));
    let _lock = lock(&cache)?;
    if !boot.exists() {
        let root = root_folder(&cache, recipe, steps)?;
        build(&boot, |scratch| boot_files(recipe, &root, scratch))?;
        prune(&cache, &format!("boot-{}-", recipe.suite), &boot);
        prune(&cache, &format!("root-{}-", recipe.suite), &root);
        give_to_caller(&[&cache, &cache.join("lock"), &boot])?;
        steps.done("image built");
    }
    Ok(Image { kernel: boot.join("vmlinuz"), initrd: boot.join("initrd"), disk: boot.join("root.img") })
}

/// One builder at a time; the lock goes with the descriptor.
fn lock(cache: &Path) -> Result<fs::File, Failure> {
    let path = cache.join("lock");
    let file = fs::File::create(&path).context(|| format!("cannot make {}", path.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
        .context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The folder of the installed packages.
fn root_folder(cache: &Path, recipe: &Recipe, steps: &mut Steps) -> Result<PathBuf, Stop> {
    let root = cache.join(format!("root-{}-{}", recipe.suite, recipe.root_key()));
    if root.exists() {
        return Ok(root);
    }
    if !rustix::process::geteuid().is_root() {
        let sentence =
            "the guest's image has to be built, which needs root. Run once:  sudo cargo xtask lab image";
        return Err(Stop::Lacking(sentence.into()));
    }
    tools::ensure(tools::BUILD)?;
    steps.say("installing the guest's packages (once; about a minute)");
    build(&root, |scratch| install(recipe, scratch))?;
    steps.done("packages installed");
    Ok(root)
}

/// Lets `make` fill a scratch folder, and gives it its name only when it is complete.
fn build(finished: &Path, make: impl FnOnce(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let scratch = finished.with_extension("unfinished");
    let _ = fs::remove_dir_all(&scratch);
    fs::create_dir_all(&scratch).context(|| format!("cannot make {}", scratch.display()))?;
    make(&scratch)?;
    fs::rename(&scratch, finished).context(|| format!("cannot name {}", finished.display()))
}

/// Folders of the same kind that no recipe asks for any more.
fn prune(cache: &Path, prefix: &str, keep: &Path) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) && entry.path() != keep {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Under sudo, what later runs write to belongs to who called; the root folder keeps its owners.
fn give_to_caller(paths: &[&Path]) -> Result<(), Failure> {
    let id = |name: &str| std::env::var(name).ok().and_then(|id| id.parse().ok());
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else { return Ok(()) };
    paths.iter().try_for_each(|path| {
        chown(path, Some(user), Some(group)).context(|| format!("cannot give away {}", path.display()))
    })
}

fn install(recipe: &Recipe, root: &Path) -> Result<(), Failure> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--mode=root", "--variant=minbase", "--quiet", "--format=directory"]);
    command.arg(format!("--include={}", recipe.packages.join(",")));
    for unread in ["/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*"] {
        command.arg(format!("--dpkgopt=path-exclude={unread}"));
    }
    command.arg(format!("--customize-hook={}", recipe.customize.display()));
    command::run(command.arg(recipe.suite).arg(root)).context(|| "cannot install the guest's packages")
}

fn boot_files(recipe: &Recipe, root: &Path, boot: &Path) -> Result<(), Failure> {
    let kernel = only_entry(&root.join("boot"), "vmlinuz-")?;
    fs::copy(&kernel, boot.join("vmlinuz")).context(|| format!("cannot copy {}", kernel.display()))?;
    let modules = only_entry(&root.join("lib/modules"), "")?;
    let tree = boot.join("initrd.tree");
    initrd::make(recipe, root, &modules, &tree, &boot.join("initrd"))?;
    fs::remove_dir_all(&tree).context(|| format!("cannot remove {}", tree.display()))?;
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(MKE2FS).arg("-d").arg(root).arg(boot.join("root.img")).arg(DISK_SIZE);
    command::run(&mut mke2fs).context(|| "cannot make the root disk")
}

/// The one entry of a folder whose name begins so.
fn only_entry(folder: &Path, prefix: &str) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder).context(|| format!("cannot read {}", folder.display()))?;
    let mut found = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry.path()),
        (None, _) => Err(Failure::new(format!("{} has no {prefix}* in it", folder.display()))),
        _ => Err(Failure::new(format!("{} has more than one {prefix}*", folder.display()))),
    }
}
