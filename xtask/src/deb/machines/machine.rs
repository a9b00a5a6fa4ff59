//! A machine: systemd as the first process of a namespace, over a layer of its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use super::Link;
use crate::deb::output;

/// How often something is looked at that is waited for, and at most how many times.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOKS: u32 = 450;

/// Where machines are made.
#[derive(Debug)]
pub(super) struct World {
    folder: PathBuf,
    /// A cgroup below which each machine has one.
    group: PathBuf,
    boot_script: PathBuf,
    packages: [PathBuf; 2],
}

impl World {
    /// The one that `world.sh` has made around this process.
    pub(super) fn of_environment(scripts: &Path, packages: [&Path; 2]) -> anyhow::Result<Self> {
        let folder = |name| env::var_os(name).with_context(|| format!("{name} is not set"));
        Ok(Self {
            folder: folder("WORLD")?.into(),
            group: folder("GROUP")?.into(),
            boot_script: scripts.join("boot.sh"),
            packages: packages.map(Path::to_owned),
        })
    }
}

/// One that runs, or has run.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    links: &'static [Link],
    /// What outlives it.
    folder: PathBuf,
    group: PathBuf,
    boot_script: PathBuf,
    /// What waits for its first process.
    keeper: Child,
    /// Its first process.
    init: String,
}

impl Machine {
    /// A new one, up.
    pub(super) fn boot(
        world: &World,
        name: &'static str,
        links: &'static [Link],
    ) -> anyhow::Result<Self> {
        let folder = world.folder.join(name);
        let [networks, packages] = ["network", "packages"].map(|name| folder.join(name));
        fs::create_dir_all(&networks)?;
        fs::create_dir_all(&packages)?;
        for (index, link) in links.iter().enumerate() {
            let file = networks.join(format!("{}.network", link.device));
            fs::write(file, link.network(index))?;
        }
        for (number, package) in (1..).zip(&world.packages) {
            fs::copy(package, packages.join(format!("{number}.deb")))?;
        }
        let group = world.group.join(name);
        fs::create_dir(&group)?;
        let boot_script = world.boot_script.clone();
        let keeper = start(&boot_script, &group, &folder, links)?;
        let mut machine =
            Self { name, links, folder, group, boot_script, keeper, init: String::new() };
        machine.come_up()?;
        Ok(machine)
    }

    /// Boots it again with the files that it had.
    pub(super) fn boot_again(&mut self) -> anyhow::Result<()> {
        self.keeper = start(&self.boot_script, &self.group, &self.folder, self.links)?;
        self.come_up()
    }

    /// Waits until all that is started with the system has been started.
    fn come_up(&mut self) -> anyhow::Result<()> {
        let keeper = self.keeper.id();
        let children = format!("/proc/{keeper}/task/{keeper}/children");
        let outcome = wait_for("its first process", || {
            if let Some(status) = self.keeper.try_wait()? {
                bail!("it does not start: {status}");
            }
            self.init = fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
            let name = fs::read_to_string(format!("/proc/{}/comm", self.init));
            Ok(name.is_ok_and(|name| name.trim() == "systemd"))
        });
        let outcome = outcome.and_then(|()| {
            for link in self.links {
                shell(&link.far_end())?;
            }
            self.wait_for("multi-user.target", "systemctl is-active multi-user.target")
        });
        outcome.map_err(|error| {
            let console = fs::read_to_string(self.folder.join("console"));
            anyhow!("{} does not come up: {error:#}\n{}", self.name, console.unwrap_or_default())
        })
    }

    /// What a line for the shell prints here.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn run(&self, line: &str) -> anyhow::Result<String> {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init, "--all", "env", "-i"]);
        command.args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "sh", "-c", line]);
        let printed = output(&mut command).with_context(|| format!("{}: {line}", self.name))?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    /// Waits until the line for the shell succeeds.
    ///
    /// # Errors
    /// With what it complained of, when that takes too long.
    pub(super) fn wait_for(&self, what: &str, line: &str) -> anyhow::Result<()> {
        let mut latest = Ok(String::new());
        let outcome = wait_for(what, || {
            latest = self.run(line);
            Ok(latest.is_ok())
        });
        latest.and(outcome).with_context(|| format!("{}: waited for {what}", self.name))
    }

    /// Shuts it down in order.
    pub(super) fn power_off(&mut self) -> anyhow::Result<()> {
        self.run("systemctl poweroff --no-block")?;
        wait_for("the end", || Ok(self.keeper.try_wait()?.is_some()))
            .with_context(|| format!("{} does not shut down", self.name))?;
        self.bury()
    }

    /// Ends it at once, as when the power fails.
    pub(super) fn cut_power(&mut self) -> anyhow::Result<()> {
        shell(&format!("kill -KILL {}", self.init))?;
        self.keeper.wait()?;
        self.bury()
    }

    /// Waits until its devices are gone, whose names the next boot needs.
    fn bury(&self) -> anyhow::Result<()> {
        self.links.iter().try_for_each(|link| {
            let device = Path::new("/proc/sys/net/ipv4/conf").join(link.name);
            wait_for(link.name, || Ok(!device.exists()))
        })
    }
}

/// Starts what becomes the machine.
fn start(boot_script: &Path, group: &Path, folder: &Path, links: &[Link]) -> anyhow::Result<Child> {
    const JOIN: &str = "echo $$ >\"$1/cgroup.procs\" && shift && exec unshare --mount --propagation private \
                        --cgroup --net --uts --ipc sh \"$@\"";
    let console = fs::File::create(folder.join("console"))?;
    Command::new("sh")
        .args(["-c", JOIN, "boot"])
        .args([group, boot_script, folder])
        .args(links.iter().map(|link| link.name))
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
        .context("sh does not start")
}

/// Runs a line for the shell outside of the machines.
pub(super) fn shell(line: &str) -> anyhow::Result<()> {
    output(Command::new("sh").args(["-c", line])).map(drop)
}

/// Waits until something holds.
///
/// # Errors
/// When that takes too long.
pub(super) fn wait_for(
    what: &str,
    mut holds: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        if holds()? {
            return Ok(());
        }
        thread::sleep(LOOK_EVERY);
    }
    bail!("{what} has not come")
}
