use super::*;
use crate::testing::FakeHost;
use proptest::prelude::*;

const NUMBER: DevNumber = DevNumber { major: 254, minor: 3 };

fn host() -> FakeHost {
    FakeHost::default()
        .file("/sys/class/block/dm-3/dev", "254:3\n")
        .file("/sys/class/block/dm-3/size", "2097152\n")
        .file("/sys/class/block/dm-3/ro", "0\n")
        .file("/sys/class/block/dm-3/dm/name", "mpatha\n")
        .node("/dev/dm-3", "254:3")
        .node("/dev/mapper/mpatha", "254:3")
        .node("/dev/dm-30", "254:30")
        .node("/dev/sdb", "8:16")
        .link("/proc/100/ns/mnt", "mnt:[1]")
        .link("/proc/100/fd/5", "/dev/dm-3")
        .file("/proc/100/mountinfo", "")
}

fn found(host: &FakeHost) -> Vec<String> {
    let openers = openers_of(host, &"dm-3".parse().unwrap(), NUMBER).unwrap();
    openers.iter().map(ToString::to_string).collect()
}

/// Of several devices, each has its own, also one that is gone; and every process is looked at once.
#[test]
fn several_are_asked_for_at_once() {
    let host = host()
        .file("/sys/class/block/sdb/dev", "8:16\n")
        .file("/sys/class/block/sdb/size", "8\n")
        .file("/sys/class/block/sdb/ro", "0\n")
        .link("/proc/200/fd/3", "/dev/sdb")
        .file("/proc/200/comm", "dd\n")
        .link("/proc/300/fd/3", "/dev/sdb")
        .link("/proc/300/fd/4", "/dev/dm-3")
        .file("/proc/300/comm", "qemu\n");
    let gone = ("sdc".parse().unwrap(), DevNumber { major: 8, minor: 32 });
    let disk = ("sdb".parse().unwrap(), DevNumber { major: 8, minor: 16 });
    let found = openers_of_each(&host, &[gone, disk, ("dm-3".parse().unwrap(), NUMBER)]).unwrap();
    let told: Vec<String> =
        found.iter().map(|all| all.iter().map(|one| format!("{one};")).collect()).collect();
    assert_eq!(told, ["", "process 200 (dd);process 300 (qemu);", "process 300 (qemu);"]);
}

#[test]
fn nobody_has_it_but_ourselves() {
    assert!(found(&host()).is_empty());
}

#[test]
fn every_kind_of_opener_is_found_once() {
    let host = host()
        .link("/proc/200/fd/3", "/dev/dm-3")
        .link("/proc/200/fd/4", "/dev/mapper/mpatha")
        .link("/proc/200/fd/5", "/dev/dm-30")
        .file("/proc/200/comm", "qemu\n")
        .link("/proc/200/ns/mnt", "mnt:[1]")
        .file("/proc/200/mountinfo", "1 1 254:3 / /not-looked-at rw - ext4 /dev/dm-3 rw\n")
        .link("/proc/300/ns/mnt", "mnt:[2]")
        .file(
            "/proc/300/mountinfo",
            "36 35 254:3 / /mnt/with\\040space rw,noatime shared:1 - ext4 /dev/mapper/mpatha rw\n\
             37 35 0:45 / /mnt/btrfs rw - btrfs /dev/mapper/mpatha rw\n\
             38 35 254:4 / /other rw - ext4 /dev/dm-4 rw\nnonsense\n",
        )
        .file("/sys/class/block/dm-3/holders/dm-7/dev", "254:7")
        .file("/sys/class/block/dm-7/dev", "254:7\n")
        .file("/sys/class/block/dm-7/size", "8\n")
        .file("/sys/class/block/dm-7/ro", "0\n")
        .file("/sys/class/block/dm-7/dm/name", "my--vg-data\n")
        .file("/sys/class/block/dm-7/dm/uuid", "LVM-abc\n")
        .file("/sys/block/loop3/loop/backing_file", "/dev/mapper/mpatha\n")
        .file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/dm-3 partition 1 0 -2\n");
    assert_eq!(
        found(&host),
        [
            "process 200 (qemu)",
            "mounted at /mnt/btrfs",
            "mounted at /mnt/with space",
            "logical volume my-vg/data (dm-7) upon it",
            "loop device loop3 (backing file /dev/mapper/mpatha)",
            "swap space",
        ]
    );
}

#[test]
fn partitions_count_and_a_number_that_changed_hands_does_not() {
    let host = FakeHost::default()
        .file("/sys/class/block/sda/dev", "8:0\n")
        .file("/sys/class/block/sda/size", "8\n")
        .file("/sys/class/block/sda/ro", "0\n")
        .file("/sys/class/block/sda/sda1/partition", "1\n")
        .file("/sys/class/block/sda1/dev", "8:1\n")
        .link("/proc/100/ns/mnt", "mnt:[1]")
        .file("/proc/100/mountinfo", "36 35 8:1 / /data rw - xfs /dev/sda1 rw\n");
    let name = "sda".parse().unwrap();
    let number = DevNumber { major: 8, minor: 0 };
    assert_eq!(openers_of(&host, &name, number).unwrap(), [Opener::Mount { point: "/data".into() }]);
    assert!(openers_of(&host, &name, NUMBER).unwrap().is_empty());
}

/// D7: a node may have any name and lie anywhere; what counts is what it is the node of. A name that only looks like it is none.
#[test]
fn d7_a_user_by_another_node_is_seen_and_a_file_of_that_name_is_not() {
    let opened = |host: FakeHost, pid: u32, node: &str| {
        host.link(&format!("/proc/{pid}/fd/3"), node).file(&format!("/proc/{pid}/comm"), "qemu\n")
    };
    let host = host()
        .node("/dev/xvda", "254:3")
        .node("/tmp/alias (deleted)", "254:3")
        .node("/dev/other/dm-3", "254:4");
    let host = opened(host, 201, "/dev/xvda");
    let host = opened(host, 202, "/tmp/alias (deleted)");
    let host = opened(host, 203, "/dev/other/dm-3");
    let host = opened(host, 204, "/srv/dev/dm-3");
    let host = opened(host, 205, "socket:[254]");
    // Of this one no number can be told: its name has to do.
    let host = opened(host, 206, "/dev/dm-3 (deleted)").error_of_number("/proc/206/fd/3", 1);
    assert_eq!(found(&host), ["process 201 (qemu)", "process 202 (qemu)", "process 206 (qemu)"]);
}

/// D7: a partition's number counts as the disk's.
#[test]
fn d7_a_user_of_a_partition_by_another_node_is_seen() {
    let host = host()
        .file("/sys/class/block/dm-3/dm-3p1/partition", "1\n")
        .file("/sys/class/block/dm-3p1/dev", "259:1\n")
        .node("/srv/part", "259:1")
        .link("/proc/201/fd/3", "/srv/part")
        .file("/proc/201/comm", "dd\n");
    assert_eq!(found(&host), ["process 201 (dd)"]);
}

/// D7: nobody has a descriptor of what a loop device is over, and no holder shows. Its path may be meant in another mount namespace; a file
/// is what it is.
#[test]
fn d7_a_loop_device_is_a_user() {
    let backing = |host: FakeHost, name: &str, path: &str| {
        host.file(&format!("/sys/block/{name}/loop/backing_file"), format!("{path}\n"))
    };
    let host = host().node("/tmp/alias", "254:3").file("/srv/image", "").file("/sys/block/loop9/size", "0\n");
    let host = backing(host, "loop0", "/tmp/alias");
    let host = backing(host, "loop1", "/dev/dm-3 (deleted)");
    let host = backing(host, "loop2", "/srv/image");
    let host = backing(host, "loop4", "/dev/dm-30");
    let host = backing(host, "loop5", "/gone");
    let host = backing(host, "loop6", "/dev/xvdb")
        .node("/dev/xvdb", "202:16")
        .node("/proc/300/root/dev/xvdb", "254:3")
        .node("/proc/300/root/srv/image", "254:3")
        .link("/proc/300/ns/mnt", "mnt:[2]")
        .file("/proc/300/mountinfo", "");
    let users = found(&host);
    assert_eq!(
        users,
        [
            "loop device loop0 (backing file /tmp/alias)",
            "loop device loop1 (backing file /dev/dm-3 (deleted))",
            "loop device loop6 (backing file /dev/xvdb)"
        ]
    );
    let openers = openers_of(&host, &"dm-3".parse().unwrap(), NUMBER).unwrap();
    assert!(openers.iter().all(|opener| !opener.passes_by()));
}

/// D7: swap and btrfs, too, are told by the path of the node they were given.
#[test]
fn d7_swap_and_mounts_by_another_node_are_seen() {
    let host = host()
        .node("/tmp/alias", "254:3")
        .node("/proc/100/root/tmp/alias", "254:3")
        .file(
            "/proc/100/mountinfo",
            "37 35 0:45 / /mnt/btrfs rw - btrfs /tmp/alias rw\n38 1 0:46 / /p rw - proc proc rw\n",
        )
        .file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/tmp/alias partition 1 0 -2\n");
    assert_eq!(found(&host), ["mounted at /mnt/btrfs", "swap space"]);
}

/// What a rule has started is udev's, however deep; the same program by somebody's hand is a user.
#[test]
fn d7_udev_and_multipathd_pass_by_and_users_do_not() {
    let opened = |host: FakeHost, pid: u32, parent: u32, command: &str| {
        host.link(&format!("/proc/{pid}/fd/3"), "/dev/dm-3")
            .file(&format!("/proc/{pid}/comm"), format!("{command}\n"))
            .file(&format!("/proc/{pid}/stat"), format!("{pid} ({command}) S {parent} 1 1"))
    };
    let mut host =
        host().file("/proc/50/stat", "50 ((udev-worker)) S 1 1 1").file("/proc/1/stat", "1 (init) S 0 0 0");
    for (pid, parent, command) in [
        (201, 50, "sh"),
        (202, 201, "blkid"),
        (203, 1, "blkid"),
        (204, 1, "multipathd"),
        (205, 1, "odd) name"),
        (206, 1, "lvm"),
    ] {
        host = opened(host, pid, parent, command);
    }
    let openers = openers_of(&host, &"dm-3".parse().unwrap(), NUMBER).unwrap();
    let users: Vec<String> = openers.iter().filter(|o| !o.passes_by()).map(ToString::to_string).collect();
    assert_eq!(openers.len(), 6);
    assert_eq!(users, ["process 203 (blkid)", "process 205 (odd) name)"]);
}

proptest! {
    #[test]
    fn any_table_is_read(table in "\\PC*|([0-9]* [0-9]* [0-9:]* / /[a-z\\\\0-9]* - [a-z]* [/a-z]*\n)*") {
        let sought =
            Sought { numbers: vec![NUMBER], nodes: vec!["/dev/dm-3".into()], ..Sought::default() };
        let space = Space { pid: 100, mounts: table.clone() };
        drop(mount_points(&FakeHost::default(), &space, &sought).collect::<Vec<_>>());
        unescaped(&table);
    }
}
