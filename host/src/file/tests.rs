//! Files that are none, too large, elsewhere, leased, or gone.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

fn said<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn only_regular_files_are_opened_and_none_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let pipe = std::process::Command::new("mkfifo")
        .arg(path("pipe"))
        .status();
    assert!(pipe.unwrap().success());
    let _socket = UnixListener::bind(path("socket")).unwrap();
    symlink("/dev/zero", path("zero")).unwrap();
    for (name, kind) in [
        ("pipe", "a pipe"),
        ("socket", "a socket"),
        ("zero", "a device"),
        ("", "a folder"),
    ] {
        let expected = format!("it is {kind}, not a regular file");
        assert_eq!(said(read(&path(name), 1 << 10)), expected);
        assert_eq!(said(create(&path(name))), expected);
    }
}

#[test]
fn a_file_is_read_up_to_its_bound_and_no_further() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, vec![b'x'; 2048]).unwrap();
    assert_eq!(read(&path, 2048).unwrap().len(), 2048);
    assert_eq!(said(read(&path, 2047)), "it is larger than 1 KiB");
    // Its metadata has size 0.
    let endless = Path::new("/proc/self/environ");
    assert_eq!(std::fs::metadata(endless).unwrap().len(), 0);
    assert_eq!(said(read(endless, 1)), "it is larger than 0 KiB");
}

#[test]
fn links_may_lead_through_the_folder_and_not_out_of_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("policies");
    std::fs::create_dir_all(folder.join("..2026")).unwrap();
    std::fs::write(folder.join("..2026/auth.json"), "{}").unwrap();
    std::fs::write(place.path().join("secret.json"), "{}").unwrap();
    symlink("..2026", folder.join("..data")).unwrap();
    symlink("..data/auth.json", folder.join("auth.json")).unwrap();
    symlink("../secret.json", folder.join("model.json")).unwrap();
    let link = place.path().join("live");
    symlink(&folder, &link).unwrap();
    for folder in [&folder, &link] {
        assert_eq!(read_within(folder, "auth.json", 10).unwrap(), b"{}");
        let refused = said(read_within(folder, "model.json", 10));
        assert!(refused.contains("a link out of the folder"), "{refused}");
    }
}

/// Takes a lease on a file, as file servers do.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "functions of C without a safe wrapper")]
fn lease(file: &File) {
    use std::os::fd::AsRawFd;
    /// Of Linux; `libc` has it for other systems only.
    const F_SETSIG: i32 = 10;
    let file = file.as_raw_fd();
    // SAFETY: they change only how the system treats this open file. The signal when the lease is broken is one that is ignored
    // by default.
    let leased = unsafe {
        libc::fcntl(file, F_SETSIG, libc::SIGURG);
        libc::fcntl(file, libc::F_SETLEASE, libc::F_WRLCK)
    };
    assert_eq!(leased, 0, "{}", io::Error::last_os_error());
}

#[cfg(target_os = "linux")]
#[test]
fn a_leased_file_is_no_shortage_and_is_worth_another_try() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    let file = create(&path).unwrap();
    lease(&file);
    let error = open(&path).unwrap_err();
    assert!(error.to_string().contains("a lease on it"), "{error}");
    assert!(!is_shortage(&error) && may_pass(&error));
    assert!(may_pass(&at(&path, error)));
    drop(file);
    open(&path).unwrap();
}

#[test]
fn a_limit_of_file_sizes_is_told_with_its_remedy() {
    let error = || io::Error::from_raw_os_error(Errno::FBIG.raw_os_error());
    let told = explained(&error()).to_string();
    assert!(told.ends_with(RAISE_FILE_LIMIT), "{told}");
    let told = at(Path::new("/state/file"), error()).to_string();
    assert!(
        told.starts_with("/state/file: ") && told.ends_with(RAISE_FILE_LIMIT),
        "{told}"
    );
    let other = io::Error::from_raw_os_error(Errno::NOSPC.raw_os_error());
    assert_eq!(explained(&other).to_string(), other.to_string());
}

#[test]
fn a_folder_that_is_gone_is_made_again_for_its_owner() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("a/b");
    restore_folder(&folder).unwrap();
    let mode = std::fs::metadata(&folder).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
    let file = create(&folder.join("c")).unwrap();
    assert!(has_name(&file, &folder.join("c")).unwrap());
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(!has_name(&file, &folder.join("c")).unwrap());
}

#[test]
fn an_operators_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.json");
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    put(&[(path.clone(), b"{}")]).unwrap();
    // Bits that each usual umask takes away.
    let theirs = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(&path, theirs).unwrap();
    put(&[(path.clone(), b"[]")]).unwrap();
    assert_eq!(mode(), 0o666);
    assert_eq!(read(&path, 9).unwrap(), b"[]");
}

#[test]
fn several_files_are_complete_before_one_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("auth.wasm"), "old").unwrap();
    let nowhere = [
        (path("auth.wasm"), b"new"),
        (path("none/auth.json"), b"new"),
    ];
    let told = said(put(&nowhere));
    assert!(told.contains("none/auth.json"), "{told}");
    assert_eq!(read(&path("auth.wasm"), 9).unwrap(), b"old");

    // A name that cannot be given to a file.
    std::fs::create_dir(path("auth.json")).unwrap();
    let told = said(put(&[
        (path("auth.wasm"), b"new"),
        (path("auth.json"), b"new"),
    ]));
    let before = format!("; replaced before it: {}", path("auth.wasm").display());
    assert!(
        told.contains("auth.json") && told.ends_with(&before),
        "{told}"
    );
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 2, "nothing unfinished is left");
}
