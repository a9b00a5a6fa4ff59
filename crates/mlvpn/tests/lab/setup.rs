//! `mlvpn setup` on both ends, each with an `/etc` and a `/run` of its own, and nothing else.

mod installed;

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mlvpn_io::netlink::Prefix;
use mlvpn_lab::Host;
use mlvpn_lab::daemon::Signal;
use mlvpn_lab::workload::Transfer;

use crate::network::world::{SERVER_PUBLIC_V4, SERVER_PUBLIC_V6, WEB_V4, WEB_V6, World};
use crate::tunnel::{PROGRAM, has_other_users};
use crate::wait::{PATIENCE, wait_for};
pub(crate) use installed::Installed;

tests![
    two_commands_and_a_lan_host_downloads_over_both_links_in_both_families_and_finds_names,
    a_second_run_changes_nothing_and_what_differs_is_not_replaced,
    a_second_client_is_added_and_a_wrong_line_is_refused,
    a_dry_run_shows_everything_but_secrets_and_does_nothing,
    the_user_is_made_where_there_is_none,
    on_a_terminal_everything_is_asked_for,
    where_systemd_is_the_service_is_started_once_and_told_of_changes,
    a_firewall_is_opened_only_on_request,
    a_client_may_keep_its_private_key,
];

/// What the server is told on the command line.
const SERVER: [&str; 7] =
    ["setup", "server", "--address", "203.0.113.2,2001:db8:3::2", "--dns", "9.9.9.9", "--no-start"];

/// Both ends of the world, set up by their commands.
pub(crate) fn set_up(world: &World) -> (Installed, Installed) {
    let server = Installed::on(&world.server);
    let client = Installed::on(&world.client);
    let line = server.succeed(&SERVER).stdout;
    client.succeed(&client_arguments(&line));
    (server, client)
}

/// The arguments in the line that the server has printed, which are pasted as they are.
fn client_arguments(line: &str) -> Vec<&str> {
    let words: Vec<_> = line.split_whitespace().collect();
    assert!(words.starts_with(&["mlvpn", "setup", "client"]) && words.len() == 4, "{line}");
    let mut arguments = words[1..].to_vec();
    arguments.push("--no-start");
    arguments
}

fn two_commands_and_a_lan_host_downloads_over_both_links_in_both_families_and_finds_names() {
    let world = World::new();
    let (mut server, mut client) = set_up(&world);
    server.start();
    client.start();
    for link in ["eth1", "eth2"] {
        client.wait_for_link(link, "connected");
    }
    for (web, public) in [(WEB_V4, SERVER_PUBLIC_V4), (WEB_V6, SERVER_PUBLIC_V6)] {
        wait_for(&format!("{web} seen by the LAN host"), || {
            world.seen_from(&world.lan, web) == Some(public)
        });
        let before = world.received();
        let transfer = Transfer::download(&world.lan, &world.internet, web).duration(PATIENCE * 4);
        let transfer = transfer.start().unwrap();
        wait_for("bytes over both links", || {
            let now = world.received();
            (0..2).all(|link| now[link] > before[link] + 500_000)
        });
        assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
        assert_eq!(world.seen_from(&world.client, web), Some(public));
    }
    let name_server = Ipv4Addr::new(9, 9, 9, 9);
    world.internet.configure("lo", None, &[Prefix::host(name_server)]).unwrap();
    answering_names(&world.internet, name_server, || {
        let found = client.output("getent", &["ahostsv4", "web.example"]);
        assert!(found.contains(&WEB_V4.to_string()), "{found}");
    });
    client.stop();
    server.stop();
}

fn a_second_run_changes_nothing_and_what_differs_is_not_replaced() {
    let world = World::new();
    let (server, client) = (Installed::on(&world.server), Installed::on(&world.client));
    let line = server.succeed(&SERVER).stdout;
    let client_arguments = client_arguments(&line);
    client.succeed(&client_arguments);
    let files = |end: &Installed| end.files_in_etc();
    let before = (files(&server), files(&client));
    for (end, arguments) in [(&server, &SERVER[..]), (&client, &client_arguments)] {
        let again = end.succeed(arguments);
        assert!(again.stderr.contains("nothing to do"), "{}", again.stderr);
        assert_eq!(again.stdout, "");
    }
    assert_eq!((files(&server), files(&client)), before);

    // A comment of the server's owner stays, a link that is gone from the client's file is noticed.
    server.change_configuration(|text| text.replace("[general]", "# mine\n[general]"));
    server.succeed(&SERVER);
    assert!(server.configuration().contains("# mine"));
    client.change_configuration(|text| text.replace("binddev = \"eth2\"", "binddev = \"eth3\""));
    let changed = client.configuration();
    let refused = client.fail(&client_arguments);
    assert!(refused.contains("-binddev = \"eth3\"\n+binddev = \"eth2\""), "{refused}");
    assert!(refused.contains("--force"), "{refused}");
    assert_eq!(client.configuration(), changed);
    let forced = client.succeed(&[&client_arguments[..], &["--force"]].concat());
    assert!(forced.stderr.contains("mlvpn.conf.before-1"), "{}", forced.stderr);
    assert_eq!(client.read("etc/mlvpn/mlvpn.conf.before-1"), changed);
    assert!(client.configuration().contains("binddev = \"eth2\""));
    // Another network of the tunnel is another file.
    let other = [&SERVER[..], &["--ip4", "10.200.0.0/24"]].concat();
    assert!(server.fail(&other).contains("+ip4 = \"10.200.0.1/24\""));
    server.succeed(&[&other[..], &["--force"]].concat());
    assert!(server.configuration().contains("ip4 = \"10.200.0.2\""), "{}", server.configuration());
}

fn a_second_client_is_added_and_a_wrong_line_is_refused() {
    let world = World::new();
    let (mut server, mut client) = set_up(&world);
    server.start();
    client.start();
    client.wait_for_link("eth1", "connected");
    let twice = server.fail(&["setup", "server", "--add-client", "client", "--no-start"]);
    assert!(twice.contains("is there already") && twice.contains("--force"), "{twice}");
    let add = ["setup", "server", "--add-client", "phone", "--preshared-key", "--no-start"];
    let added = server.succeed(&add);
    assert!(added.stdout.starts_with("mlvpn setup client mlvpn1"), "{}", added.stdout);
    assert!(added.stderr.contains("SECRET"), "{}", added.stderr);
    let check = server.succeed(&["check", "/etc/mlvpn/mlvpn.conf"]).stdout;
    for part in
        ["peer     client:", "peer     phone:", "with a pre-shared key", "no errors, no warnings"]
    {
        assert!(check.contains(part), "{part}: {check}");
    }
    // The first one is still a client after the server has read that.
    server.signal(Signal::SIGHUP);
    server.wait_for_log("configuration reloaded");
    wait_for("the web", || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4));

    let token = added.stdout.split_whitespace().last().unwrap();
    let damaged = token.replacen(&token[20..21], if &token[20..21] == "A" { "B" } else { "A" }, 1);
    for (wrong, says) in
        [(&damaged[..], "damaged"), (&token[..60], "damaged"), ("hello", "no token")]
    {
        let error = client.fail(&["setup", "client", wrong, "--name", "other", "--no-start"]);
        assert!(error.contains(says), "{wrong}: {error}");
    }
    // The tunnel's network is known here by now.
    let net = client.configuration();
    let clash = client.fail(&["setup", "client", token, "--name", "other", "--no-start"]);
    assert!(clash.contains("clashes") && clash.contains("--ip4 NET"), "{clash}\n{net}");
    client.stop();
    server.stop();
}

fn a_dry_run_shows_everything_but_secrets_and_does_nothing() {
    let world = World::new();
    let server = Installed::on(&world.server);
    let before = server.files_in_etc();
    let shown = server.succeed(&[&SERVER[..], &["--dry-run", "--preshared-key"]].concat()).stdout;
    for part in [
        "write /etc/mlvpn/mlvpn.conf (mode 0600)",
        "bindport = 5083",
        "preshared_key = (not shown)",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("mlvpn1"), "{shown}");
    assert_eq!(server.files_in_etc(), before);
    let missing = server.fail(&["setup", "server", "--dry-run"]);
    assert!(missing.contains("--address HOST"), "{missing}");
    // What the kernel tells will do, if that is said.
    let shown = server.succeed(&["setup", "server", "--dry-run", "--yes"]).stdout;
    assert!(shown.contains("203.0.113.2") && shown.contains("2001:db8:3::2"), "{shown}");
}

fn the_user_is_made_where_there_is_none() {
    let world = World::new();
    let server = Installed::without_user_on(&world.server);
    let shown = server.succeed(&[&SERVER[..], &["--dry-run"]].concat()).stdout;
    assert!(shown.contains("make the user mlvpn"), "{shown}");
    if has_other_users() {
        server.succeed(&SERVER);
        assert!(server.read("etc/passwd").lines().any(|line| line.starts_with("mlvpn:")));
        assert!(server.succeed(&SERVER).stderr.contains("nothing to do"));
    }
}

fn on_a_terminal_everything_is_asked_for() {
    let world = World::new();
    let server = Installed::on(&world.server);
    let shown = server.converse(
        "setup server --no-start",
        &[
            // What is suggested will do.
            ("by which clients reach this server", "\r"),
            ("Shall all traffic", "y"),
            ("Name servers for clients", "9.9.9.9\r"),
            ("First UDP port", "\r"),
            ("The most uplinks", "2\r"),
            ("Name of the first client", "camper\r"),
            ("mlvpn setup client mlvpn1", ""),
        ],
    );
    assert!(shown.contains("203.0.113.2"), "{shown}");
    let text = server.configuration();
    assert!(text.contains("[peer camper]") && text.contains("bindport = 5081"), "{text}");
    assert!(!text.contains("bindport = 5082"), "{text}");
    assert!(server.read("etc/mlvpn/mlvpn.setup.json").contains("9.9.9.9"));
    // Whether a file that differs is replaced is asked, too.
    let before = text;
    let again = [("Replace it", "n"), ("was left as it is", "")];
    server.converse("setup server --no-start --links 3", &again);
    assert_eq!(server.configuration(), before);
}

fn where_systemd_is_the_service_is_started_once_and_told_of_changes() {
    // What systemd would be asked, by a program in its place that notes it down.
    const SYSTEMCTL: &str = "#!/bin/sh\n\
        case $1 in is-*) test -e /run/started;; enable) : > /run/started;; esac || exit 1\n\
        case $1 in is-*) ;; *) echo \"$*\" >> /run/asked;; esac\n";
    let world = World::new();
    let mut server = Installed::on(&world.server);
    server.write("run/bin/systemctl", SYSTEMCTL, 0o755);
    server.write("etc/systemd/system/other.service", "", 0o644);
    server.before(
        "mkdir -p /run/systemd/system && mount --bind /run/bin /usr/local/bin && \
         for real in /usr/bin/systemctl /bin/systemctl; do \
         test ! -e $real || mount --bind /run/bin/systemctl $real; done",
    );
    let arguments = &SERVER[..SERVER.len() - 1];
    let first = server.succeed(arguments);
    assert!(first.stdout.starts_with("mlvpn setup client"), "{}", first.stderr);
    let unit = server.read("etc/systemd/system/mlvpn@.service");
    assert!(unit.contains(&format!("ExecStart={PROGRAM} -c /etc/mlvpn/%i.conf")), "{unit}");
    let enabled = "daemon-reload\nenable --now mlvpn@mlvpn\n";
    assert_eq!(server.read("run/asked"), enabled);
    assert!(server.succeed(arguments).stderr.contains("nothing to do"));
    assert_eq!(server.read("run/asked"), enabled);
    server.succeed(&["setup", "server", "--add-client", "phone"]);
    let told = format!("{enabled}reload-or-restart mlvpn@mlvpn\n");
    assert_eq!(server.read("run/asked"), told);
}

fn a_firewall_is_opened_only_on_request() {
    let world = World::new();
    let server = Installed::on(&world.server);
    let policy =
        "table inet filter { chain input { type filter hook input priority 0; policy drop; }; }";
    world.output(&world.server, &["nft", policy]);
    let chain =
        || world.output(&world.server, &["nft", "list", "chain", "inet", "filter", "input"]);
    let told = server.succeed(&SERVER).stderr;
    assert!(told.contains("--open-firewall") && told.contains("UDP 5080-5083"), "{told}");
    assert!(!chain().contains("udp"), "{}", chain());
    for _ in 0..2 {
        server.succeed(&[&SERVER[..], &["--open-firewall"]].concat());
        assert_eq!(chain().matches("udp dport 5080-5083 accept").count(), 1, "{}", chain());
    }
}

fn a_client_may_keep_its_private_key() {
    let world = World::new();
    let (mut server, mut client) = (Installed::on(&world.server), Installed::on(&world.client));
    client.write("etc/mlvpn/README", "", 0o644);
    let genkey = ["genkey", "--out", "/etc/mlvpn/mlvpn.key"];
    let key = client.succeed(&genkey).stdout;
    let add = ["--add-client", "camper", "--public-key", key.trim()];
    let printed = server.succeed(&[&SERVER[..], &add].concat());
    assert!(printed.stderr.contains("It holds no secret"), "{}", printed.stderr);
    let arguments = client_arguments(&printed.stdout);
    client.succeed(&arguments);
    server.start();
    client.start();
    client.wait_for_link("eth2", "connected");
    client.stop();
    server.stop();
    client.succeed(&[&genkey[..], &["--force"]].concat());
    let other = client.fail(&arguments);
    assert!(other.contains(key.trim()) && other.contains("is that of"), "{other}");
    client.output("rm", &["/etc/mlvpn/mlvpn.key", "/etc/mlvpn/mlvpn.conf"]);
    assert!(client.fail(&arguments).contains("mlvpn genkey --out /etc/mlvpn/mlvpn.key"));
}

/// Runs `work` while `host` answers for every name with the web server's address.
fn answering_names(host: &Host, own: Ipv4Addr, work: impl FnOnce()) {
    let socket = host.run(|| UdpSocket::bind((own, 53))).unwrap().unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut query = [0; 512];
            while !is_over.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut query) {
                    socket.send_to(&answer(&query[..length]), from).unwrap();
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

/// One A record for the question (RFC 1035 section 4.1); whatever follows the question is left out.
fn answer(query: &[u8]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let mut answer = query[..name_end + 4].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    let std::net::IpAddr::V4(web) = WEB_V4 else { panic!("it is IPv4") };
    answer.extend_from_slice(&web.octets());
    answer
}
