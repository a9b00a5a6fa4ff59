//! The names under which ps, top and htop show the process and its threads. Only on Linux; elsewhere
//! nothing happens.

/// Makes ps show `title` in place of the command line, cut to the room that the arguments took. The
/// program's arguments are overwritten: read them before, with `std::env::args_os`. Without `/proc`
/// nothing happens; it is looked at in the first call only.
pub fn set(title: &str) {
    #[cfg(target_os = "linux")]
    if let Err(error) = linux::overwrite_arguments(title) {
        tracing::debug!(%error, "cannot set the process title");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = title;
}

/// Names the calling thread; the kernel keeps the first 15 bytes. A name with a zero byte in it is
/// ignored.
pub fn set_thread_name(name: &str) {
    #[cfg(target_os = "linux")]
    if let Ok(name) = std::ffi::CString::new(name) {
        // Cannot fail for a string.
        let _ = rustix::thread::set_name(&name);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = name;
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::sync::{Mutex, OnceLock};

    /// Field numbers of `arg_start` and `arg_end` in /proc/self/stat (proc_pid_stat(5)), from 1.
    const ARG_START: usize = 48;
    const ARG_END: usize = 49;

    /// One writer at a time.
    static WRITING: Mutex<()> = Mutex::new(());
    /// Where the arguments are, once that was asked. They stay where they are.
    static AREA: OnceLock<Option<(usize, usize)>> = OnceLock::new();

    pub(super) fn overwrite_arguments(title: &str) -> io::Result<()> {
        let stat = || std::fs::read_to_string("/proc/self/stat").ok();
        let (start, end) = AREA
            .get_or_init(|| argument_area(&stat()?))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no argument area"))?;
        let _guard = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let content = fill(title, end - start);
        let area = std::ptr::with_exposed_provenance_mut::<u8>(start);
        // SAFETY: the kernel says that the strings of argv are at start..end. They stay mapped and
        // writable for the life of the process, and no reference to them exists: the standard
        // library copies them out on each call, and as the last byte stays zero, each argv pointer
        // still leads to a string that ends within the area.
        unsafe { std::ptr::copy_nonoverlapping(content.as_ptr(), area, content.len()) };
        Ok(())
    }

    /// The title cut to the area, and zeros to its end. At least the last byte is zero: else the
    /// kernel takes it that the title goes on in the environment behind.
    pub(super) fn fill(title: &str, len: usize) -> Vec<u8> {
        let mut content = vec![0; len];
        let mut keep = title.len().min(len.saturating_sub(1));
        while !title.is_char_boundary(keep) {
            keep -= 1;
        }
        content[..keep].copy_from_slice(&title.as_bytes()[..keep]);
        content
    }

    /// The area of the arguments, if it is known and not absurd.
    pub(super) fn argument_area(stat: &str) -> Option<(usize, usize)> {
        // The second field, the name in parentheses, may hold anything; fields count from there.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<usize>().ok();
        let (start, end) = (field(ARG_START)?, field(ARG_END)?);
        (start > 0 && start < end && end - start <= 1 << 20).then_some((start, end))
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn titles_are_cut_between_characters_and_end_with_zero() {
        assert_eq!(linux::fill("abc", 6), b"abc\0\0\0");
        assert_eq!(linux::fill("abcdef", 4), b"abc\0");
        assert_eq!(linux::fill("aé", 3), b"a\0\0");
        assert_eq!(linux::fill("a", 1), b"\0");
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let fields: Vec<_> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("1 (a) b (c) {}", fields.join(" "));
        assert_eq!(linux::argument_area(&stat), Some((48, 49)));
        assert_eq!(linux::argument_area("1 (a) 3 4"), None);
        assert_eq!(linux::argument_area(""), None);
    }

    /// In a process of its own, since the arguments of the test runner are lost.
    #[test]
    fn ps_shows_the_title() {
        const IS_CHILD: &str = "MLVPN_IO_TITLE_CHILD";
        if std::env::var_os(IS_CHILD).is_some() {
            set("mlvpn: a title");
            let shown = std::fs::read("/proc/self/cmdline").unwrap();
            assert!(shown.starts_with(b"mlvpn: a title\0"), "{shown:?}");
            set("mlvpn");
            let shown = std::fs::read("/proc/self/cmdline").unwrap();
            assert!(shown.starts_with(b"mlvpn\0") && shown[5..].iter().all(|&byte| byte == 0));
            return;
        }
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "title::tests::ps_shows_the_title", "--nocapture"])
            .env(IS_CHILD, "1")
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }

    #[test]
    fn a_thread_has_its_name_cut_to_what_the_kernel_keeps() {
        let name = std::thread::spawn(|| {
            set_thread_name("a-rather-long-thread-name");
            std::fs::read_to_string("/proc/thread-self/comm").unwrap()
        });
        assert_eq!(name.join().unwrap(), "a-rather-long-t\n");
    }
}
