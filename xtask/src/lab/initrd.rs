//! The initrd: busybox, the few modules the disks need in the order they need each other, and our `init`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use lab_wire::{Context, Failure};

use super::command;
use super::recipe::Recipe;

/// Makes the initrd at `file` from the modules and the busybox of the root folder.
pub fn make(recipe: &Recipe, root: &Path, modules: &Path, tree: &Path, file: &Path) -> Result<(), Failure> {
    for folder in ["bin", "dev", "proc", "sys", "root", "modules"] {
        let path = tree.join(folder);
        fs::create_dir_all(&path).context(|| format!("cannot make {}", path.display()))?;
    }
    copy(&root.join("bin/busybox"), &tree.join("bin/busybox"))?;
    symlink("busybox", tree.join("bin/sh")).context(|| "cannot link busybox as sh")?;

    let list = |name: &str| {
        fs::read_to_string(modules.join(name))
            .context(|| format!("cannot read {name} in {}", modules.display()))
    };
    let mut order = String::new();
    for path in load_order(&list("modules.dep")?, &list("modules.builtin")?, &recipe.modules)? {
        let name = format!("{}.ko", module_name(&path));
        unpack(&modules.join(&path), &tree.join("modules").join(&name))?;
        order += &format!("{name}\n");
    }
    fs::write(tree.join("modules/order"), order).context(|| "cannot write the modules' order")?;
    let init = tree.join("init");
    fs::write(&init, &recipe.init).context(|| "cannot write init")?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))
        .context(|| "cannot make init executable")?;

    // Not compressed: software emulation unpacks slower than it reads.
    let pack = "cd \"$1\" && find . | cpio --quiet -o -H newc >\"$2\"";
    command::run(Command::new("sh").args(["-ec", pack, "sh"]).arg(tree).arg(file))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::copy(from, to).map(drop).context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Copies a module. Debian 13 compresses its own, and the initrd's insmod takes them as they are in memory.
fn unpack(from: &Path, to: &Path) -> Result<(), Failure> {
    if from.extension().is_none_or(|extension| extension != "xz") {
        return copy(from, to);
    }
    let file = fs::File::create(to).context(|| format!("cannot make {}", to.display()))?;
    let status = Command::new("xz").args(["--decompress", "--stdout"]).arg(from).stdout(file).status();
    match status.context(|| "cannot start xz")? {
        status if status.success() => Ok(()),
        status => Err(Failure::new(format!("xz cannot unpack {} ({status})", from.display()))),
    }
}

/// The files to load, each after those it needs, from the text of `modules.dep`
/// (`path: path of each it needs, the deepest last`); none for what the kernel has built in, a path a line.
fn load_order(dependencies: &str, built_in: &str, wanted: &[String]) -> Result<Vec<String>, Failure> {
    let mut order: Vec<String> = Vec::new();
    let loadable = |module: &&String| !built_in.lines().any(|path| module_name(path) == module.as_str());
    for module in wanted.iter().filter(loadable) {
        let line = dependencies.lines().find(|line| {
            let path = line.split(':').next().unwrap_or_default();
            module_name(path) == module.as_str()
        });
        let (path, needs) = line
            .and_then(|line| line.split_once(':'))
            .ok_or_else(|| Failure::new(format!("the kernel has no module {module}")))?;
        for file in needs.split_whitespace().rev().chain([path]) {
            if !order.iter().any(|known| known == file) {
                order.push(file.to_owned());
            }
        }
    }
    Ok(order)
}

/// `kernel/drivers/block/virtio_blk.ko` → `virtio_blk`.
fn module_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "k/virtio_ring.ko: k/virtio.ko\nk/virtio.ko:\n\
                       k/virtio_blk.ko: k/virtio_ring.ko k/virtio.ko\nk/virtio_pci.ko: k/virtio_ring.ko k/virtio.ko\n";

    #[test]
    fn needed_modules_come_first_and_once() {
        let order = load_order(DEP, "", &["virtio_pci".into(), "virtio_blk".into()]).unwrap();
        assert_eq!(order, ["k/virtio.ko", "k/virtio_ring.ko", "k/virtio_pci.ko", "k/virtio_blk.ko"]);
    }

    #[test]
    fn a_compressed_module_has_the_same_name() {
        assert_eq!(module_name("kernel/drivers/block/virtio_blk.ko.xz"), "virtio_blk");
    }

    #[test]
    fn what_is_built_in_is_not_loaded() {
        let order =
            load_order(DEP, "k/virtio_pci.ko\n", &["virtio_pci".into(), "virtio_ring".into()]).unwrap();
        assert_eq!(order, ["k/virtio.ko", "k/virtio_ring.ko"]);
    }

    #[test]
    fn an_absent_module_is_named() {
        let failure = load_order(DEP, "", &["floppy".into()]).unwrap_err();
        assert!(failure.to_string().contains("floppy"));
    }
}
