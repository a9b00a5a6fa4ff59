//! Programs of the system that are run for what no socket of the kernel is asked for.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mlvpn_io::clock::Clock;

/// Where programs are looked for; the environment has no say in it.
const DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];
/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most that is read of what a program prints, in bytes.
const MAX_OUTPUT: u64 = 16 << 20;
const LOOK: Duration = Duration::from_millis(2);

/// The program called `name`, if it is installed.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(name)).find(|path| path.is_file())
}

/// Runs a program with `input` on its standard input.
///
/// # Errors
/// When it cannot be started, takes too long, or ends without success; then with what it wrote to its
/// standard error.
pub fn run(program: &Path, arguments: &[&str], input: &str) -> io::Result<()> {
    let child = start(program, arguments, Stdio::null())?;
    finish(child, program, arguments, input)
}

/// Runs a program, and returns what it writes to its standard output, at most 16 MiB of it.
///
/// # Errors
/// As [`run`].
pub fn output(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let mut child = start(program, arguments, Stdio::piped())?;
    let stdout = child.stdout.take().map(|stdout| stdout.take(MAX_OUTPUT));
    // A program that cannot go on writing does not end.
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.map(|mut stdout| stdout.read_to_end(&mut bytes)).transpose().map(|_| bytes)
    });
    finish(child, program, arguments, "")?;
    let bytes = reader.join().map_err(|_| io::Error::other("the reader panicked"))??;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn start(program: &Path, arguments: &[&str], stdout: Stdio) -> io::Result<Child> {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", DIRECTORIES.join(":"))
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(stdout)
        .stderr(Stdio::piped())
        .spawn()
}

fn finish(mut child: Child, program: &Path, arguments: &[&str], input: &str) -> io::Result<()> {
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read its input says why when it ends.
        let _ = stdin.write_all(input.as_bytes());
    }
    let status = wait(&mut child)?;
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(4096).read_to_string(&mut text);
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(io::Error::other(format!(
        "{} {}: {status}: {text}",
        program.display(),
        arguments.join(" ")
    )))
}

fn wait(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    let clock = Clock::new();
    let start = clock.now_us();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if clock.now_us() - start > PATIENCE.as_micros() as u64 {
            let _ = child.kill();
            child.wait()?;
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it did not end within {} s", PATIENCE.as_secs()),
            ));
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_complains_of_is_told() {
        let shell = find("sh").unwrap();
        run(&shell, &["-c", "read line; test \"$line\" = hello"], "hello\n").unwrap();
        let error = run(&shell, &["-c", "echo no such table >&2; exit 3"], "").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no such table") && text.contains("exit status: 3"), "{text}");
        let many = output(&shell, &["-c", "seq 100000"]).unwrap();
        assert!(many.starts_with("1\n2\n") && many.ends_with("100000\n"), "{}", many.len());
        assert!(output(&shell, &["-c", "echo x; exit 1"]).is_err());
        assert_eq!(find("no-such-program-anywhere"), None);
    }
}
