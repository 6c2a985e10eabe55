//! How the program starts, and how it ends.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::client::{Connection, Request};
use crate::payload::message;
use crate::process::{PATIENCE, Process, await_some, program};
use crate::readme::explained;

#[test]
fn variables_win_over_the_file_and_flags_over_both() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let file = dir.path().join("config.yaml");
    let yaml = "http: {max_body: 1KiB, workers: 1, head_size: 8KiB}\nsources: {minchat: {auth: {none: true}}}\n";
    std::fs::write(&file, yaml).expect("it can be written");
    let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
        .args(["config", "--set", "http.max_body=3KiB", "--config"])
        .arg(&file)
        .env("MINCHAT_BRIDGE__HTTP__MAX_BODY", "2KiB")
        .env("MINCHAT_BRIDGE__HTTP__WORKERS", "2")
        .output();
    let text = String::from_utf8(output.expect("it runs").stdout).expect("it is UTF-8");
    let file = file.display();
    for (setting, origin) in [
        ("max_body: 3KiB", "--set http.max_body"),
        ("workers: 2", "variable MINCHAT_BRIDGE__HTTP__WORKERS"),
        ("head_size: 8KiB", &format!("{file}:1")),
        ("keep_alive: 75s", "default"),
    ] {
        let line = text.lines().find(|line| line.trim().starts_with(setting));
        let line = line.unwrap_or_else(|| panic!("{setting} is not in\n{text}"));
        assert_eq!(line.split("# ").nth(1), Some(origin), "{setting}");
    }
}

#[test]
fn an_address_that_is_taken_is_an_io_error_and_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let dir = tempfile::tempdir().expect("a directory can be made");
    let listen = format!("http.listen={address}");
    let files = format!("file.dir={}", dir.path().display());
    let words = ["serve", "--set", "admin.listen=127.0.0.1:0"];
    let (code, text) = program(&words, &["--set", &listen, "--set", &files]);
    assert_eq!(code, 74, "{text}");
    let told = format!("can't listen on {address} (http.listen): ");
    assert!(text.contains(&told) && text.contains("in use"), "{text}");
    assert!(!text.contains("127.0.0.1:0"), "{text}");
    let admin = format!("admin.listen={address}");
    let words = ["serve", "--set", "http.listen=127.0.0.1:0"];
    let (code, text) = program(&words, &["--set", &admin, "--set", &files]);
    let told = format!("can't listen on {address} (admin.listen): ");
    assert!(code == 74 && text.contains(&told), "{text}");
    assert!(!text.contains("(http.listen)"), "{text}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let settings = "http: {body_timeout: 200s, shutdown_timeout: 250s, body_min_rate: 0}\n";
    let mut bridge = Process::start(settings);
    bridge.await_ready();
    let mut stuck = Connection::open(bridge.webhooks());
    stuck.send(Request::post("/webhooks/minchat", "").head("content-length: 10\r\n"));
    bridge.await_metric(&["http_requests_in_flight"], 1.0);
    bridge.signal("INT");
    bridge.await_log(&["stopping: finishing what is in flight"]);
    bridge.signal("TERM");
    bridge.await_log(&["WARN", "stopping at once"]);
    assert_eq!(bridge.ended().code(), Some(0));
}

#[test]
fn before_it_stops_it_is_not_ready_and_still_serves() {
    // So long that the test can look; the second signal cuts it short.
    let mut bridge = Process::start("http: {stop_delay: 5m}\n");
    bridge.await_ready();
    bridge.signal("TERM");
    await_some("unreadiness", || {
        (bridge.ask("/readyz").0 == 503).then_some(())
    });
    let (_, text) = bridge.ask("/readyz?verbose");
    assert!(
        text.contains("[-]serving failed: the bridge is stopping"),
        "{text}"
    );
    assert_eq!(bridge.ask("/livez").0, 200);
    assert_eq!(bridge.post(&message("c1", "still")).status, 202);
    bridge.signal("TERM");
    assert_eq!(bridge.ended().code(), Some(0));
}

#[test]
fn the_admin_listener_tells_version_and_health_and_takes_no_webhooks() {
    let bridge = Process::start("{}\n");
    bridge.await_ready();
    let (status, text) = bridge.ask("/version");
    let version: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(
        (status, &version["version"]),
        (200, &env!("CARGO_PKG_VERSION").into())
    );
    assert!(version["revision"].is_string());
    let (status, text) = bridge.ask("/readyz?verbose");
    assert_eq!(status, 200);
    assert!(
        text.contains("[+]file:minchat.message.sent.v1 ok\n"),
        "{text}"
    );
    let post = Request::post("/webhooks/minchat", "{}").send_to(bridge.admin());
    assert_eq!(post.status, 404);
    let post = Request::post("/version", "").send_to(bridge.admin());
    assert_eq!(
        (post.status, post.header("allow")),
        (405, Some("GET, HEAD"))
    );
    bridge.ask("/livez");
    for (endpoint, status, count) in [
        ("version", 200, 1.0),
        ("version", 405, 1.0),
        ("livez", 200, 1.0),
        ("other", 404, 1.0),
    ] {
        let series = format!("{{endpoint=\"{endpoint}\",status=\"{status}\"}}");
        bridge.await_metric(&["http_requests_total", &series], count);
    }
    for path in ["/livez", "/readyz", "/metrics", "/version"] {
        let get = Request {
            method: "GET",
            ..Request::post(path, "")
        };
        assert_eq!(get.send_to(bridge.webhooks()).status, 404, "{path}");
    }
}

#[test]
fn at_start_it_says_which_files_it_has_read_or_that_there_is_none() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("tokens"), "4f1c09d2b7a85e63f0d9187c2ab4e536\n").expect("there is room");
    let yaml = format!(
        "sources: {{a: {{auth: {{tokens_file: {}}}}}}}\n",
        at("tokens")
    );
    std::fs::write(at("config.yaml"), yaml).expect("there is room");
    let taken = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let listen = taken.local_addr().expect("it is bound");
    let start = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args(["serve", "--set", &format!("http.listen={listen}")])
            .args(words)
            .current_dir(dir.path())
            .env_clear()
            .output();
        String::from_utf8(output.expect("it runs").stderr).expect("it is UTF-8")
    };
    let said = start(&["--config", &at("config.yaml")]);
    for (line, names) in [
        ("read the configuration file", at("config.yaml")),
        ("read the files that the configuration names", at("tokens")),
    ] {
        let mut lines = said.lines();
        let found = lines.any(|found| found.contains(line) && found.contains(&names));
        assert!(found && said.contains("INFO"), "{line} {names}: {said}");
    }
    let said = start(&[]);
    assert!(said.contains("no configuration file was read"), "{said}");
    assert!(
        said.contains("/etc/minchat-bridge/config.yaml is not there"),
        "{said}"
    );
}

#[test]
fn a_signal_to_a_bridge_that_was_only_just_bound_is_never_its_death() {
    // It has a line of the log for each source to write between binding and serving.
    let sources: String = (0..1000)
        .map(|nth| format!("  s{nth}: {{prefix: minchat., auth: {{none: true}}}}\n"))
        .collect();
    for signals in [&["HUP"][..], &["TERM"], &["INT"], &["HUP", "TERM"]] {
        let dir = tempfile::tempdir().expect("a directory can be made");
        std::fs::write(
            dir.path().join("config.yaml"),
            format!("sources:\n{sources}"),
        )
        .expect("there is room");
        let free = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let mut child = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
            .args([
                "serve",
                "--config",
                "config.yaml",
                "--set",
                "admin.listen=127.0.0.1:0",
            ])
            .args(["--set", &format!("http.listen={address}")])
            .current_dir(dir.path())
            .stderr(Stdio::null())
            .spawn()
            .expect("it can be started");
        let deadline = Instant::now() + PATIENCE;
        while Connection::try_open(address).is_none() {
            assert!(Instant::now() < deadline, "it listens");
        }
        let id = child.id().to_string();
        let send = |signal: &str| {
            let sent = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(sent.is_ok_and(|status| status.success()), "{signal}");
        };
        signals.iter().for_each(|signal| send(signal));
        if signals == ["HUP"] {
            // It serves on.
            await_some("an answer", || {
                let mut connection = Connection::try_open(address)?;
                connection.send(Request::post("/webhooks/s0?dry_run", message("c1", "t")).bytes());
                connection.answer().filter(|answer| answer.status == 200)
            });
            send("TERM");
        }
        let ended = await_some("its end", || child.try_wait().expect("it is a child"));
        assert_eq!(ended.code(), Some(0), "{signals:?}: {ended}");
    }
}

#[test]
fn a_line_of_json_hides_nothing() {
    const HIDDEN: [char; 5] = ['\u{202e}', '\u{200b}', '\u{feff}', '\u{85}', '\u{2067}'];
    let dir = tempfile::tempdir().expect("a directory can be made");
    let name: String = HIDDEN.into_iter().collect();
    let file = dir.path().join(format!("con{name}fig.yaml"));
    std::fs::write(&file, "sources: {a: {auth: {none: true}}}\n").expect("there is room");
    let taken = TcpListener::bind("127.0.0.1:0").expect("port 0 is always free");
    let listen = taken.local_addr().expect("it is bound");
    let output = Command::new(env!("CARGO_BIN_EXE_minchat-bridge"))
        .args([
            "serve",
            "--set",
            &format!("http.listen={listen}"),
            "--config",
        ])
        .arg(&file)
        .current_dir(dir.path())
        .output();
    let said = String::from_utf8(output.expect("it runs").stderr).expect("it is UTF-8");
    let line = said
        .lines()
        .find(|line| line.contains("read the configuration file"));
    let line = line.expect("it says so");
    assert!(line.starts_with('{') && !said.contains(HIDDEN), "{said:?}");
    assert!(
        line.contains(r"con\u202e\u200b\ufeff\u0085\u2067fig"),
        "{line:?}"
    );
    let json: serde_json::Value = serde_json::from_str(line).expect("a line is JSON");
    assert_eq!(json["file"], file.display().to_string());
}

#[test]
fn it_is_ready_once_every_broker_was_reached_and_serves_before_by_the_spool() {
    const READY: &str = "ready: every destination takes events";
    const SERVING: &str = "serving: events wait in the spool until these brokers take them";
    let bridge = Process::start("{}\n");
    bridge.await_log(&[READY]);
    drop(bridge);
    #[cfg(feature = "kafka")]
    {
        let away = "kafka: {bootstrap_servers: '127.0.0.1:1'}\nfile: {}\n";
        let bridge = Process::start(away);
        let line = bridge.await_log(&[explained(SERVING)]);
        assert!(
            line.contains("\"brokers\":\"kafka\"") || line.contains("file, kafka"),
            "{line}"
        );
        bridge.await_log(&["out of reach"]);
        assert!(!bridge.log().contains(READY), "{}", bridge.log());
    }
}
