use super::*;
use crate::iscsi::Iscsiadm;
use crate::testing::{FakeHost, block_on};

const IQN: &str = "iqn.2026-11.net.example:volume-1";
const LIMIT: Duration = Duration::from_secs(5);

fn with_session(host: FakeHost, sid: u32, scsi_host: u32, portal: (&str, &str), state: &str) -> FakeHost {
    let (session, connection) =
        (format!("{SESSIONS}/session{sid}"), format!("{CONNECTIONS}/connection{sid}:0"));
    let target = format!("../../devices/platform/host{scsi_host}/session{sid}/iscsi_session/session{sid}");
    host.link(&session, &target)
        .file(&format!("{session}/targetname"), format!("{IQN}\n"))
        .file(&format!("{session}/state"), format!("{state}\n"))
        .file(&format!("{session}/ifacename"), "default\n")
        .file(&format!("{connection}/persistent_address"), format!("{}\n", portal.0))
        .file(&format!("{connection}/persistent_port"), format!("{}\n", portal.1))
}

#[test]
fn sessions_are_read_in_order_of_their_numbers() {
    let host = with_session(FakeHost::default(), 10, 12, ("fd00::1", "3260"), "FAILED");
    let host = with_session(host, 9, 11, ("10.0.0.1", "3261"), "LOGGED_IN");
    let found = sessions_of(&host, |_| true).unwrap();
    let facts: Vec<_> =
        found.iter().map(|s| (s.sid.0, s.scsi_host.0, s.endpoint.portal.to_string(), s.state)).collect();
    assert_eq!(
        facts,
        [
            (9, 11, "10.0.0.1:3261".to_owned(), SessionState::LoggedIn),
            (10, 12, "[fd00::1]:3260".to_owned(), SessionState::Failed),
        ]
    );
    assert!(sessions_of(&FakeHost::default(), |_| true).unwrap().is_empty());
}

#[test]
fn one_that_has_no_portal_yet_or_goes_away_is_left_out() {
    let host = with_session(FakeHost::default(), 1, 3, ("(null)", "-1"), "FREE");
    assert!(sessions_of(&host, |_| true).unwrap().is_empty());
    for attribute in ["targetname", "state", "ifacename"] {
        const ENODEV: i32 = 19;
        let host = with_session(FakeHost::default(), 1, 3, ("10.0.0.1", "3260"), "FREE")
            .error(&format!("{SESSIONS}/session1/{attribute}"), ENODEV);
        assert_eq!(sessions_of(&host, |_| true).unwrap().is_empty(), attribute != "ifacename");
    }
}

/// D9: it is there all the same.
#[test]
fn d9_one_whose_connection_has_gone_is_told_apart() {
    let whole = with_session(FakeHost::default(), 1, 3, ("10.0.0.1", "3260"), "LOGGED_IN");
    let host = with_session(whole, 2, 4, ("10.0.0.2", "3260"), "LOGGED_IN")
        .error(&format!("{CONNECTIONS}/connection2:0/persistent_address"), 2);
    let (sessions, torn) = all_sessions_of(&host, |_| true).unwrap();
    assert_eq!((sessions.len(), sessions[0].sid), (1, Sid(1)));
    assert_eq!(torn, [TornSession { sid: Sid(2), iqn: IQN.parse().unwrap() }]);
    assert_eq!(sessions_of(&host, |_| true).unwrap(), sessions);
}

#[test]
fn an_error_that_is_not_absence_is_told() {
    let host = with_session(FakeHost::default(), 1, 3, ("10.0.0.1", "3260"), "FREE")
        .error(&format!("{SESSIONS}/session1/state"), 5);
    assert!(sessions_of(&host, |_| true).is_err());
}

#[test]
fn neither_a_login_nor_a_logout_is_ended_at_its_limit() {
    let endpoint = Endpoint {
        iqn: IQN.parse().unwrap(),
        portal: "10.0.0.1:3260".parse().unwrap(),
        iface: Default::default(),
    };
    let host = FakeHost::default()
        .ends(15, "iscsiadm: default: 1 session requested")
        .ends(21, "")
        .ends(9, "")
        .ends(2, "");
    let error = block_on(login(&host, &endpoint, LIMIT)).unwrap_err();
    assert_eq!(error.code(), Some(Iscsiadm::SessionExists));
    assert_eq!(block_on(logout(&host, &endpoint, LIMIT)).unwrap_err().code(), Some(Iscsiadm::NoObjects));
    assert_eq!(block_on(logout(&host, &endpoint, LIMIT)).unwrap_err().code(), Some(Iscsiadm::Internal));
    let call = format!("iscsiadm -m node -T {IQN} -p 10.0.0.1:3260 -I default");
    assert_eq!(host.log()[..2], [format!("{call} --login"), format!("{call} --logout")]);
    assert_eq!(host.ran().iter().map(|p| p.abandon).collect::<Vec<_>>(), [true, true, true]);
}
