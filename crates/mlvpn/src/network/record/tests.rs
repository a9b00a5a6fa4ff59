use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mlvpn-record-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// In a network namespace of its own, where nobody has taken the names of slots.
fn apart(body: impl FnOnce() + Send) {
    mlvpn_io::netns::NetNs::new().unwrap().run(body).unwrap();
}

fn record(interface: &str) -> Record {
    Record { namespace: 1, interface: interface.to_owned(), is_up: true, ..Record::default() }
}

fn number(claim: &Claim) -> u8 {
    claim.slot.number()
}

#[test]
fn a_program_finds_what_its_predecessor_left_and_nobody_elses() {
    apart(|| {
        let folder = Folder::new("own");
        let take = |namespace, interface| Claim::take(&folder.0, namespace, interface).unwrap();
        let (first, _) = take(1, "a");
        let (second, _) = take(1, "b");
        first.write(&record("a")).unwrap();
        second.write(&record("b")).unwrap();
        assert_eq!((number(&first), number(&second)), (0, 1));
        drop((first, second));
        let (claim, found) = take(1, "b");
        assert_eq!((number(&claim), found), (1, record("b")));
        drop(claim);
        // Of a third one, and of the same in another namespace.
        let (claim, found) = take(1, "c");
        assert_eq!((number(&claim), found), (2, Record::default()));
        drop(claim);
        assert_eq!(number(&take(2, "a").0), 2);
        let (claim, found) = take(1, "a");
        claim.clear().unwrap();
        assert_eq!((number(&claim), found.interface.as_str()), (0, "a"));
        drop(claim);
        assert_eq!(take(1, "a").1, Record::default());
    });
}

#[test]
fn programs_with_folders_of_their_own_do_not_share_a_slot() {
    apart(|| {
        let folders = [Folder::new("one"), Folder::new("other")];
        let claims = folders.each_ref().map(|folder| Claim::take(&folder.0, 1, "a").unwrap().0);
        assert_eq!(claims.each_ref().map(number), [0, 1]);
        drop(claims);
        let (claim, _) = Claim::take(&folders[1].0, 1, "a").unwrap();
        assert_eq!(number(&claim), 0, "it is free again");
    });
}

#[test]
fn programs_of_one_folder_in_two_namespaces_have_a_record_each() {
    let folder = Folder::new("spaces");
    let take = || Claim::take(&folder.0, 1, "a").unwrap().0;
    let space = || mlvpn_io::netns::NetNs::new().unwrap();
    let (here, there) = (space().run(take).unwrap(), space().run(take).unwrap());
    assert_eq!((number(&here), number(&there)), (0, 1));
}

#[test]
fn programs_that_start_at_once_all_find_a_slot() {
    let count = Slot::all().count();
    // In one folder and a namespace each, as the hosts of a lab are, and the other way round, as a
    // service manager does it.
    for shares_folder in [true, false] {
        for _ in 0..20 {
            let space = mlvpn_io::netns::NetNs::new().unwrap();
            let folders: Vec<_> = (0..count).map(|n| Folder::new(&format!("once-{n}"))).collect();
            let start = std::sync::Barrier::new(count);
            let program = |n: usize| {
                let folder = &folders[if shares_folder { 0 } else { n }].0;
                let take = || {
                    start.wait();
                    Claim::take(folder, 1, "a").unwrap().0
                };
                if shares_folder {
                    mlvpn_io::netns::NetNs::new().unwrap().run(take).unwrap()
                } else {
                    space.run(take).unwrap()
                }
            };
            let claims: Vec<Claim> = std::thread::scope(|scope| {
                let program = &program;
                let threads: Vec<_> = (0..count).map(|n| scope.spawn(move || program(n))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            let numbers: std::collections::BTreeSet<_> = claims.iter().map(number).collect();
            assert_eq!(numbers.len(), count, "{claims:?}");
        }
    }
}

#[test]
fn when_all_slots_are_taken_that_is_told() {
    apart(|| {
        let folder = Folder::new("all");
        let claims: Vec<_> = Slot::all().map(|_| Claim::take(&folder.0, 1, "a").unwrap()).collect();
        let error = Claim::take(&folder.0, 1, "a").unwrap_err().to_string();
        assert!(error.contains("all 8 slots"), "{error}");
        drop(claims);
    });
}

#[test]
fn a_damaged_record_is_no_reason_to_fail() {
    apart(|| {
        let folder = Folder::new("damaged");
        fs::create_dir_all(&folder.0).unwrap();
        fs::write(folder.0.join("network-0.json"), "{").unwrap();
        assert_eq!(Claim::take(&folder.0, 1, "a").unwrap().1, Record::default());
    });
}
