//! The network of both hosts set up by the program itself.

pub(crate) mod world;

use mlvpn_lab::daemon::Signal;
use mlvpn_lab::workload::Transfer;

use crate::wait::{PATIENCE, wait_for};
use world::{End, LAN_HOST_V4, SERVER_PUBLIC_V4, SERVER_PUBLIC_V6, WEB_V4, WEB_V6, World};

tests![
    a_lan_host_downloads_over_both_links_in_both_families_with_the_servers_address,
    after_a_stop_everything_is_byte_for_byte_as_before,
    what_a_killed_program_left_behind_is_undone_by_the_next,
    another_gateway_and_an_unplugged_device_are_followed,
    a_reload_brings_and_takes_what_it_says,
    strict_reverse_path_filters_let_the_links_answer,
    with_the_kill_switch_nothing_goes_past_the_tunnel,
    what_cannot_be_set_up_is_named_and_nothing_remains,
    killed_at_any_moment_all_is_undone_by_the_next,
    what_others_remove_comes_back,
    resolved_is_told_of_the_name_servers_and_of_their_end,
];

fn a_lan_host_downloads_over_both_links_in_both_families_with_the_servers_address() {
    let world = World::new();
    let (_server, client) = world.start(|_| {}, |_| {});
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
        // The client itself goes the same way.
        assert_eq!(world.seen_from(&world.client, web), Some(public));
    }
    assert_eq!(client.resolv_conf().lines().last(), Some("nameserver 9.9.9.9"));
}

fn after_a_stop_everything_is_byte_for_byte_as_before() {
    let world = World::new();
    let before = world.states();
    let (mut server, mut client) = world.start(|_| {}, |_| {});
    assert_ne!(world.states(), before);
    client.stop();
    server.stop();
    assert_same(&world.states(), &before);
    assert_eq!(client.resolv_conf(), world::RESOLV_CONF);
    assert!(client.left_in_etc().is_empty(), "{:?}", client.left_in_etc());
}

fn what_a_killed_program_left_behind_is_undone_by_the_next() {
    let world = World::new();
    let before = world.states();
    let (mut server, mut client) = world.start(|_| {}, |_| {});
    for end in [&mut client, &mut server] {
        end.kill();
    }
    assert_ne!(world.states(), before, "nobody could clean up");
    assert_ne!(client.resolv_conf(), world::RESOLV_CONF);
    server.start_again();
    client.start_again();
    client.wait_for_link("one", "connected");
    wait_for("the tunnel again", || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4));
    for end in [&mut client, &mut server] {
        end.stop();
    }
    assert_same(&world.states(), &before);
    assert_eq!(client.resolv_conf(), world::RESOLV_CONF);

    // Also when the next one is to leave the network alone.
    let (mut server, mut client) = world.start(|_| {}, |_| {});
    client.kill();
    for key in ["nat", "default_route", "dns"] {
        client.conf.unset("general", key);
    }
    client.conf.set("general", "manage_network", "no");
    client.start_again();
    wait_for("the rules gone", || !world.states()[0].contains("proto 109"));
    client.stop();
    server.stop();
    assert_same(&world.states(), &before);
}

fn another_gateway_and_an_unplugged_device_are_followed() {
    let world = World::new();
    let before = world.states();
    let (mut server, mut client) = world.start(|_| {}, |_| {});
    let is_online = || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4);
    wait_for("the web", is_online);

    // The router of the first uplink gets another address, and the client hears of it.
    world.move_gateway();
    wait_for("the new gateway in the link's table", || {
        world
            .output(&world.client, &["ip", "route", "show", "table", "27201"])
            .contains("192.168.1.99")
    });
    let before_move = world.received()[0];
    wait_for("bytes by the new gateway", || {
        is_online();
        world.received()[0] > before_move + 2_000
    });

    world.unplug();
    client.wait_for_link_down("two");
    wait_for("the web over one link", is_online);
    world.plug();
    client.wait_for_link("two", "connected");
    wait_for("routes of the device", || {
        world
            .output(&world.client, &["ip", "route", "show", "table", "27202"])
            .contains("192.168.2.1")
    });
    wait_for("the web again", is_online);
    client.stop();
    server.stop();
    world.move_gateway_back();
    assert_same(&world.states(), &before);
}

fn a_reload_brings_and_takes_what_it_says() {
    let world = World::new();
    let before = world.states();
    let (mut server, mut client) = world.start(
        |_| {},
        |conf| {
            for key in ["default_route", "dns"] {
                conf.unset("general", key);
            }
        },
    );
    assert_eq!(world.seen_from(&world.client, WEB_V4), Some(world::ROUTER_PUBLIC_V4));
    client.reload(|conf| conf.set("general", "default_route", "yes"));
    wait_for("the default route", || {
        world.seen_from(&world.client, WEB_V4) == Some(SERVER_PUBLIC_V4)
    });
    client.reload(|conf| {
        conf.unset("general", "default_route");
        conf.set("general", "ip4_routes", "192.0.2.0/24");
    });
    wait_for("a route for one network", || {
        let rules = world.output(&world.client, &["ip", "rule"]);
        rules.contains("lookup 27024") && !rules.contains("lookup 27000")
    });
    assert_eq!(world.seen_from(&world.client, WEB_V4), Some(SERVER_PUBLIC_V4));
    // The network is left to the user, and looked after again: the links need other sockets.
    client.reload(|conf| {
        conf.set("general", "manage_network", "no");
        conf.unset("general", "nat");
    });
    let now = &world.states()[0];
    assert!(!now.contains("109") && !now.contains("10.44.43") && !now.contains("mlvpn_"), "{now}");
    client.reload(|conf| conf.set("general", "manage_network", "yes"));
    client.wait_for_link("one", "connected");
    wait_for("the route again", || {
        world.seen_from(&world.client, WEB_V4) == Some(SERVER_PUBLIC_V4)
    });
    client.stop();
    server.stop();
    assert_same(&world.states(), &before);
}

fn strict_reverse_path_filters_let_the_links_answer() {
    let world = World::new();
    for device in ["all", "default", "eth1", "eth2"] {
        let key = format!("net/ipv4/conf/{device}/rp_filter");
        world.client.namespace().set_sysctl(&key, "1").unwrap();
    }
    let before = world.states();
    let (mut server, mut client) = world.start(|_| {}, |_| {});
    wait_for("the web", || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4));
    client.stop();
    server.stop();
    assert_same(&world.states(), &before);
}

fn with_the_kill_switch_nothing_goes_past_the_tunnel() {
    let world = World::new();
    world.lead_answers_to_the_lan();
    let before = world.states();
    let (mut server, mut client) =
        world.start(|_| {}, |conf| conf.set("general", "kill_switch", "yes"));
    wait_for("the web", || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4));
    server.kill();
    wait_for("the tunnel down", || {
        !world.output(&world.client, &["ip", "rule"]).contains("lookup 27000")
    });
    let leaks = || -> Vec<_> {
        let ways = [WEB_V4, WEB_V6].map(|web| [(&world.client, web), (&world.lan, web)]);
        let is_open = |(host, web): &(&_, _)| world.seen_from(host, *web).is_some();
        ways.into_iter().flatten().filter(is_open).map(|(host, web)| (host.name(), web)).collect()
    };
    assert!(leaks().is_empty(), "{:?}", leaks());
    // Neighbours are still reached.
    assert_eq!(
        world.seen_from_in(&world.client, &world.lan, LAN_HOST_V4),
        Some(world::LAN_CLIENT_V4)
    );
    // It also holds when the program is killed, until it is started and stopped.
    client.kill();
    assert_eq!(world.seen_from(&world.client, WEB_V4), None);
    client.start_again();
    server.start_again();
    client.wait_for_link("one", "connected");
    wait_for("the web again", || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4));
    client.stop();
    server.stop();
    assert_same(&world.states(), &before);
}

fn what_cannot_be_set_up_is_named_and_nothing_remains() {
    let world = World::new();
    let key = "net/ipv6/conf/all/disable_ipv6";
    world.server.namespace().set_sysctl(key, "1").unwrap();
    world.server.namespace().set_sysctl("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    let before = world.states();
    let mut end: End = world.server(|_| {});
    assert!(!end.daemon.wait(PATIENCE).unwrap().success());
    let log = end.daemon.stderr();
    assert!(log.contains("set up tun0") && log.contains("IPv6 is disabled here"), "{log}");
    assert_same(&world.states(), &before);
    // A signal that comes too late is no harm.
    let _ = end.daemon.signal(Signal::SIGTERM);
}

fn killed_at_any_moment_all_is_undone_by_the_next() {
    let world = World::new();
    let before = world.states();
    let mut server = world.server(|_| {});
    let mut client = world.client(|_| {});
    for moment_ms in [0, 10, 20, 40, 60, 90, 130, 200, 300, 600] {
        std::thread::sleep(std::time::Duration::from_millis(moment_ms));
        client.kill_half_way();
        client.start_again();
    }
    client.kill_half_way();
    server.kill_half_way();
    for end in [&mut client, &mut server] {
        end.start_again();
        end.wait_for_status();
        end.stop();
    }
    assert_same(&world.states(), &before);
    assert_eq!(client.resolv_conf(), world::RESOLV_CONF);
    assert!(client.left_in_etc().is_empty(), "{:?}", client.left_in_etc());
}

fn what_others_remove_comes_back() {
    let world = World::new();
    let before = world.states();
    let (mut server, mut client) = world.start(|_| {}, |_| {});
    wait_for("the web", || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4));
    let table = |host| world.output(host, &["nft", "list", "ruleset"]);
    let with_table = table(&world.client);
    assert!(with_table.contains("masquerade"), "{with_table}");
    // As a reload of nftables.service does; and somebody who tidies up.
    for script in ["flush ruleset", "delete chain inet mlvpn_0 nat", "delete table inet mlvpn_0"] {
        world.output(&world.client, &["nft", script]);
        wait_for(script, || table(&world.client) == with_table);
    }
    // As systemd-networkd does when it starts.
    let rules = world.output(&world.client, &["ip", "rule"]);
    world.output(&world.client, &["ip", "rule", "del", "table", "27000"]);
    world.output(&world.client, &["ip", "route", "flush", "table", "27201"]);
    wait_for("the rules", || world.output(&world.client, &["ip", "rule"]) == rules);
    wait_for("the link's routes", || {
        world
            .output(&world.client, &["ip", "route", "show", "table", "27201"])
            .contains("192.168.1.2")
    });
    wait_for("the web again", || world.seen_from(&world.lan, WEB_V4) == Some(SERVER_PUBLIC_V4));
    client.stop();
    server.stop();
    assert_same(&world.states(), &before);
}

fn resolved_is_told_of_the_name_servers_and_of_their_end() {
    let world = World::new();
    let mut server = world.server(|_| {});
    let mut client =
        world.client_with_resolved(|conf| conf.set("general", "dns", "9.9.9.9 2620:fe::fe"));
    let told = ["dns tun0 9.9.9.9 2620:fe::fe", "domain tun0 ~.", "default-route tun0 yes"];
    wait_for("resolved told", || client.resolvectl_calls() == told);
    assert!(client.has_stub(), "the file is resolved's");
    client.stop();
    assert_eq!(client.resolvectl_calls().last().map(String::as_str), Some("revert tun0"));
    assert!(client.has_stub());
    assert!(client.left_in_etc().is_empty(), "{:?}", client.left_in_etc());
    server.stop();
}

/// Compares line by line, so that what differs is seen.
fn assert_same(now: &[String; 2], before: &[String; 2]) {
    for (now, before) in now.iter().zip(before) {
        let missing: Vec<_> = before.lines().filter(|line| !now.contains(line)).collect();
        let added: Vec<_> = now.lines().filter(|line| !before.contains(line)).collect();
        assert!(now == before, "missing: {missing:#?}\nadded: {added:#?}");
    }
}
