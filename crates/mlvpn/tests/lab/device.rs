//! A link's device is unplugged and plugged in again.

use mlvpn_io::netlink::Prefix;
use mlvpn_lab::Lab;

use crate::tunnel::{LINK, Plan, SERVER_V4};
use crate::wait::wait_for;

tests![
    a_device_that_disappears_takes_only_its_own_link_down_and_brings_it_back,
    a_cable_that_is_pulled_takes_only_its_own_link_down,
];

/// A link with an emulated line, and one with a cable to which both ends are bound by device.
fn lab_with_stick() -> (Lab, Plan) {
    let lab = Lab::builder().link("dsl1", LINK.parse().unwrap()).direct_link("stick").build();
    let lab = lab.expect("hosts need namespaces and /dev/net/tun");
    let mut plan = Plan::over(&lab).both("general", "timeout", 4);
    let at_server = lab.link("stick").server_end_v4();
    for conf in [&mut plan.client, &mut plan.server] {
        conf.remove("stick");
        conf.set("stick", "binddev", "stick");
    }
    plan.client.set("stick", "remotehost", at_server);
    plan.client.set("stick", "remoteport", 5_090);
    plan.server.set("stick", "bindport", 5_090);
    (lab, plan)
}

fn unplug(lab: &Lab) {
    let mut netlink = lab.client().netlink();
    let index = netlink.link_by_name("stick").unwrap().index;
    netlink.delete_link(index).unwrap();
}

fn plug(lab: &Lab) {
    let (link, client, server) = (lab.link("stick"), lab.client(), lab.server());
    client.connect("stick", server, "stick").unwrap();
    client.configure("stick", None, &[Prefix::new(link.client_v4(), 24)]).unwrap();
    server.configure("stick", None, &[Prefix::new(link.server_end_v4(), 24)]).unwrap();
}

fn a_device_that_disappears_takes_only_its_own_link_down_and_brings_it_back() {
    let (lab, plan) = lab_with_stick();
    let tunnel = plan.start(&lab);
    let transfer = tunnel.download().start().unwrap();
    wait_for("the stick used", || lab.link("stick").delivered_bytes().unwrap().0 > 200_000);
    unplug(&lab);
    tunnel.client.wait_for_link_down("stick");
    tunnel.server.wait_for_link_down("stick");
    let bytes = transfer.bytes();
    wait_for("bytes over the other link", || transfer.bytes() > bytes + 1_000_000);
    plug(&lab);
    tunnel.wait_until_up();
    wait_for("the stick used again", || lab.link("stick").delivered_bytes().unwrap().0 > 200_000);
    assert_eq!(transfer.stop().unwrap().wrong_bytes(), 0);
    for end in [&tunnel.client, &tunnel.server] {
        assert_eq!(end.disconnects("dsl1"), 0);
        assert!(end.disconnects("stick") >= 1);
    }
    tunnel.wait_for_echo(SERVER_V4);
}

fn a_cable_that_is_pulled_takes_only_its_own_link_down() {
    let (lab, plan) = lab_with_stick();
    let tunnel = plan.start(&lab);
    lab.link("stick").cut().unwrap();
    tunnel.client.wait_for_link_down("stick");
    tunnel.move_bytes(500_000);
    lab.link("stick").restore().unwrap();
    tunnel.wait_until_up();
    assert_eq!((tunnel.client.disconnects("dsl1"), tunnel.server.disconnects("dsl1")), (0, 0));
}
