//! The page for browsers, in a browser, at a program that runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use base64ct::{Base64, Encoding as _};
use mlvpn::console::figure::{megabits, millis, percent};
use mlvpn_lab::Host;
use serde_json::{Value, json};

use crate::tunnel::{LINK, Place, Plan, lab};
use crate::wait::wait_for;

tests![
    the_page_shows_what_the_status_tells_and_asks_nobody_else,
    a_page_fits_on_a_telephone_in_light_and_in_dark,
];

const PORT: u16 = 1_040;
/// Would be heard of if it was ever taken for markup.
const HOSTILE: &str = "<img/src/onerror=console.error(1)>";
/// Keeps what the page was told last, and waits for nothing.
const LISTENER: &str = "window.told = {}; const asked = window.fetch; \
    window.fetch = async (path, how) => { const answer = await asked(path, how); \
    window.told[path] = await answer.clone().text(); return answer; };";
/// What stands on the page, and what it was told.
const SIGHT: &str = "JSON.stringify({ told: window.told, title: document.title, \
    trouble: document.getElementById('trouble').hidden ? null : document.getElementById('trouble').textContent, \
    summary: document.getElementById('summary').textContent, \
    total: [...document.querySelectorAll('#total .figures b')].map((b) => b.textContent), \
    links: [...document.querySelectorAll('#links > .card')].map((card) => ({ \
        name: card.querySelector('h2').textContent, state: card.querySelector('.state').textContent, \
        figures: [...card.querySelectorAll('.figures b')].map((b) => b.textContent) })), \
    events: [...document.querySelectorAll('#events tr')].map((row) => row.lastChild.textContent), \
    images: document.images.length, \
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth })";

/// A browser on a host, driven by the DevTools protocol over pipes.
struct Browser {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: Option<String>,
    number: u64,
    /// What it told without being asked.
    events: Vec<Value>,
    _place: Place,
}

impl Browser {
    fn open(host: &Host) -> Self {
        let place = Place::new();
        // It reads orders from descriptor 3 and answers on 4.
        let script = "for name in chromium-headless-shell chromium google-chrome; do \
            command -v $name >/dev/null && exec $name \"$@\" 3<&0 4>&1 >/dev/null 2>&1; done; exit 127";
        let mut command = host.command("sh");
        command.args(["-c", script, "sh", "--headless", "--no-sandbox", "--disable-gpu"]);
        command.args([
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
        ]);
        command.arg("--remote-debugging-pipe");
        command.arg(format!("--user-data-dir={}", place.path("profile").display()));
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell");
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (session, events) = (None, Vec::new());
        let mut browser =
            Self { process, input, output, session, number: 0, events, _place: place };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        let listener = json!({ "source": LISTENER });
        browser.call("Page.addScriptToEvaluateOnNewDocument", listener);
        browser
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut order = json!({ "id": self.number, "method": method });
        order["params"] = params;
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        self.input.write_all(order.to_string().as_bytes()).expect("is a chromium installed?");
        self.input.write_all(&[0]).unwrap();
        loop {
            let mut bytes = Vec::new();
            let length = self.output.read_until(0, &mut bytes).unwrap();
            assert!(length > 0, "the browser has ended; is chromium-headless-shell installed?");
            let message: Value = serde_json::from_slice(&bytes[..length - 1]).unwrap();
            if message["id"] == self.number {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push(message);
        }
    }

    fn go(&mut self) {
        self.call("Page.navigate", json!({ "url": format!("http://127.0.0.1:{PORT}/") }));
        wait_for("the page", || {
            let sight = self.sight();
            !sight["summary"].as_str().unwrap_or("reading").starts_with("reading")
        });
    }

    fn sight(&mut self) -> Value {
        let looked = self.call("Runtime.evaluate", json!({ "expression": SIGHT }));
        let text = looked["result"]["value"].as_str().unwrap_or("null");
        serde_json::from_str(text).unwrap()
    }

    /// The page as it looks, into the folder that is named by `MLVPN_SCREENSHOTS`; and its size in bytes.
    fn screenshot(&mut self, name: &str) -> usize {
        let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        let image = Base64::decode_vec(shot["data"].as_str().unwrap()).unwrap();
        if let Some(folder) = std::env::var_os("MLVPN_SCREENSHOTS") {
            std::fs::write(std::path::Path::new(&folder).join(name), &image).unwrap();
        }
        image.len()
    }

    /// Everything that was asked of others than the program, and all complaints.
    fn faults(&self) -> Vec<String> {
        let own = format!("http://127.0.0.1:{PORT}/");
        let is_fault = |event: &&Value| match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
                !url.starts_with(&own) && !url.starts_with("data:")
            }
            Some("Runtime.exceptionThrown" | "Log.entryAdded" | "Runtime.consoleAPICalled") => true,
            _ => false,
        };
        self.events.iter().filter(is_fault).map(ToString::to_string).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What should stand on the page that was told this.
fn expected(told: &Value) -> Option<Value> {
    let document = |path: &str| serde_json::from_str::<Value>(told[path].as_str()?).ok();
    let (status, history) = (document("status")?, document("history")?);
    let rate = |of: &Value| of.as_u64().map_or_else(|| "-".to_owned(), megabits);
    let mbits = |of: &Value| format!("{} Mbit/s", rate(of));
    let link = |link: &Value| {
        let path = &link["path"];
        let capacity = path["capacity"].as_u64().or(link["bandwidth"].as_u64().filter(|b| *b > 0));
        let is_idle = ["down", "off", "waiting"].iter().any(|word| link["condition"] == *word);
        let received_loss =
            if path.is_null() { &link["loss_ratio"] } else { &path["received_loss_ratio"] };
        let share =
            |of: &Value| of.as_f64().filter(|_| !is_idle).map_or_else(|| "-".to_owned(), percent);
        let mut figures = vec![
            mbits(&link["rate"]["received"]),
            rate(&link["received_peak"]),
            mbits(&link["rate"]["sent"]),
            rate(&capacity.into()),
            format!("{} ms", link["srtt_ms"].as_f64().map_or_else(|| "-".to_owned(), millis)),
            format!("{} / {} %", share(received_loss), share(&path["loss_ratio"])),
        ];
        figures.extend(path["mtu"].as_u64().map(|mtu| mtu.to_string()));
        json!({ "name": link["name"], "state": link["condition"], "figures": figures })
    };
    let event = |event: &Value| match (event["link"].as_str(), event["text"].as_str()) {
        (Some(link), Some(text)) => format!("{link}: {text}"),
        (_, text) => text.unwrap_or_default().to_owned(),
    };
    let links: Vec<_> = status["tunnels"].as_array()?.iter().map(link).collect();
    let events: Vec<_> = history["events"].as_array()?.iter().rev().map(event).collect();
    let total = [mbits(&status["rate"]["received"]), mbits(&status["rate"]["sent"])];
    Some(json!({ "links": links, "events": events, "total": total }))
}

fn plan(lab: &mlvpn_lab::Lab) -> Plan {
    let mut plan = Plan::over(lab);
    plan.client.set("general", "control_bind_host", "127.0.0.1");
    plan.client.set("general", "control_bind_port", PORT);
    plan
}

fn the_page_shows_what_the_status_tells_and_asks_nobody_else() {
    let lab = lab(&[("dsl1", LINK), ("dsl2", LINK)]);
    let mut plan = plan(&lab);
    // One that never comes up.
    plan.client.set(HOSTILE, "remotehost", lab.server_v4());
    plan.client.set(HOSTILE, "remoteport", 9);
    let tunnel = plan.start_without_waiting(&lab);
    for link in ["dsl1", "dsl2"] {
        tunnel.client.wait_for_link(link, "connected");
    }
    let mut browser = Browser::open(&tunnel.client.host);
    browser.go();
    let transfer = tunnel.download().start().unwrap();
    let mut compared = 0;
    wait_for("figures that move, as told", || {
        let sight = browser.sight();
        let Some(expected) = expected(&sight["told"]) else { return false };
        let is_moving = sight["links"][0]["figures"][0].as_str().is_some_and(|rate| {
            rate.strip_suffix(" Mbit/s").and_then(|rate| rate.parse::<f64>().ok()) > Some(1.0)
        });
        // What was told a moment ago may not be drawn yet.
        let is_same = ["links", "events", "total"].iter().all(|key| sight[*key] == expected[*key]);
        compared += usize::from(is_same && is_moving);
        compared >= 3
    });
    drop(transfer.stop());
    // And the program tells others the same links, states and events.
    let status = tunnel.client.run(&["status", "--json"]).stdout;
    let status: Value = serde_json::from_slice(&status).unwrap();
    let sight = browser.sight();
    let names = |of: &Value| -> Vec<Value> {
        of.as_array().unwrap().iter().map(|link| link["name"].clone()).collect()
    };
    assert_eq!(names(&sight["links"]), names(&status["tunnels"]));
    assert!(names(&sight["links"]).contains(&HOSTILE.into()), "{sight}");
    assert_eq!(sight["images"], 0, "a name is no markup");
    let page_title = sight["title"].as_str().unwrap();
    assert_eq!(page_title, format!("{} (mlvpn)", status["name"].as_str().unwrap()));
    assert_eq!(browser.faults(), Vec::<String>::new());
    drop(tunnel);
    wait_for("a word about the end", || {
        browser.sight()["trouble"]
            .as_str()
            .is_some_and(|text| text.starts_with("Nothing new since"))
    });
}

fn a_page_fits_on_a_telephone_in_light_and_in_dark() {
    let lab = lab(&[("dsl1", LINK), ("dsl2", LINK)]);
    let tunnel = plan(&lab).start(&lab);
    tunnel.move_bytes(2_000_000);
    let mut browser = Browser::open(&tunnel.client.host);
    for (width, height) in [(1280, 900), (360, 740)] {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        browser.call("Emulation.setDeviceMetricsOverride", size);
        let mut looks = Vec::new();
        for scheme in ["light", "dark"] {
            let feature =
                json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
            browser.call("Emulation.setEmulatedMedia", feature);
            browser.go();
            assert_eq!(browser.sight()["overflow"], 0, "{width} {scheme}");
            assert!(browser.screenshot(&format!("{width}-{scheme}.png")) > 5_000);
            let paper = "getComputedStyle(document.body).backgroundColor";
            looks.push(browser.call("Runtime.evaluate", json!({ "expression": paper })));
        }
        assert_ne!(looks[0]["result"]["value"], looks[1]["result"]["value"], "{width}");
    }
    assert_eq!(browser.faults(), Vec::<String>::new());
}
