//! What the stores promise, with their locks and without.

use std::{
    future::Future,
    path::Path,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use agent_memories::{
    Access, Balance, EPISODES, Episode, EpisodicMemoryStore, Error, Points, SemanticMemoryStore, SiteMemory, Skill,
    SkillLibrary, SkillMemoryStore, transfer,
};
use concurrent_locks::{ErrorKind, LockManager, Mode};
use tempfile::TempDir;

/// Locks of one test, and a folder for its files.
fn locks() -> (LockManager, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let manager = LockManager::connect(&format!("local:{}", folder.path().display())).blocking().unwrap();
    (manager, folder)
}

fn access(manager: &LockManager, label: &str) -> Access {
    Access::locked(manager.owner(label).unwrap())
}

fn episode() -> Episode {
    Episode::parse_all(EPISODES).unwrap().swap_remove(0)
}

/// Two futures that both begin before either ends: the first is polled once, as far as its thinking.
async fn interleave<T>(first: impl Future<Output = T>, second: impl Future<Output = T>) -> (T, T) {
    let mut first = pin!(first);
    let mut context = Context::from_waker(Waker::noop());
    assert!(first.as_mut().poll(&mut context).is_pending(), "the first must be in its section");
    tokio::join!(first, second)
}

/// The thinking of a test: long enough that two that think at the same time both have read.
const THINKING: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "current_thread")]
async fn interleaved_changes_are_all_kept() {
    let (manager, folder) = locks();
    let path = folder.path().join("skill_memory.db");
    let open = |label| SkillMemoryStore::open(&path, access(&manager, label).thinking(THINKING)).unwrap();
    let (a, b) = (open("a"), open("b"));
    let (first, second) = interleave(a.record_use("s", true), b.record_use("s", false)).await;
    first.and(second).unwrap();
    let best = a.best(1).await.unwrap();
    assert_eq!((best[0].uses, best[0].successes), (2, 1));
}

#[tokio::test(flavor = "current_thread")]
async fn without_the_lock_an_interleaved_change_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("skill_memory.db");
    let open = || SkillMemoryStore::open(&path, Access::unlocked().thinking(THINKING)).unwrap();
    let (a, b) = (open(), open());
    // The first has read when it is pending, and no thinking has ended before the second has read too:
    // one thread polls both, and timers fire only when it comes to rest.
    let (first, second) = interleave(a.record_use("s", true), b.record_use("s", false)).await;
    first.and(second).unwrap();
    assert_eq!(a.best(1).await.unwrap()[0].uses, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn episodes_come_back_by_importance_and_are_counted() {
    let (manager, folder) = locks();
    let store = EpisodicMemoryStore::open(&folder.path().join("e.db"), access(&manager, "a")).unwrap();
    let (minor, major) = (Episode { importance: 2, ..episode() }, Episode { importance: 9, ..episode() });
    assert_eq!(store.add(&minor).await.unwrap(), 1);
    assert_eq!(store.add(&major).await.unwrap(), 2);
    assert_eq!(store.recall(&minor.site, 10).await.unwrap(), [major, minor.clone()]);
    assert_eq!(store.recall(&minor.site, 1).await.unwrap().len(), 1);
    assert!(store.recall("nowhere", 10).await.unwrap().is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn facts_keep_the_last_statement_and_the_count() {
    let (manager, folder) = locks();
    let store = SemanticMemoryStore::open(&folder.path().join("s.db"), access(&manager, "a")).unwrap();
    assert_eq!(store.lookup("t").await.unwrap(), None);
    store.observe("t", "first").await.unwrap();
    store.observe("t", "second").await.unwrap();
    let fact = store.lookup("t").await.unwrap().unwrap();
    assert_eq!((fact.statement.as_str(), fact.observations), ("second", 2));
}

#[tokio::test(flavor = "current_thread")]
async fn a_transfer_moves_points_and_loses_none() {
    let (manager, folder) = locks();
    let access = access(&manager, "a");
    let episodic = EpisodicMemoryStore::open(&folder.path().join("e.db"), access.clone()).unwrap();
    let semantic = SemanticMemoryStore::open(&folder.path().join("s.db"), access.clone()).unwrap();
    transfer(&access, &episodic, &semantic, "t", 7).await.unwrap();
    let held = access.hold(&[episodic.resource(), semantic.resource()], Mode::Read).await.unwrap();
    assert_eq!(episodic.balance(&held, "t").unwrap(), Balance { points: -7, moves: 1 });
    assert_eq!(semantic.balance(&held, "t").unwrap(), Balance { points: 7, moves: 1 });
}

#[test]
#[should_panic(expected = "needs \"episodic_db:e.db\" to write")]
fn a_step_without_its_lock_is_refused() {
    let (manager, folder) = locks();
    let access = access(&manager, "a");
    let episodic = EpisodicMemoryStore::open(&folder.path().join("e.db"), access.clone()).unwrap();
    let held = access.hold_blocking(&[episodic.resource()], Mode::Read).unwrap();
    let _ = episodic.set_balance(&held, "t", Balance::default());
}

#[tokio::test(flavor = "current_thread")]
async fn each_store_has_the_lock_that_its_file_names() {
    let (manager, folder) = locks();
    let path = |name: &str| folder.path().join(name);
    let access = access(&manager, "a");
    let episodic = EpisodicMemoryStore::open(&path("episodic_memory.db"), access.clone()).unwrap();
    let semantic = SemanticMemoryStore::open(&path("semantic_memory.db"), access.clone()).unwrap();
    let skills = SkillMemoryStore::open(&path("skill_memory.db"), access.clone()).unwrap();
    assert_eq!(episodic.resource(), "episodic_db:episodic_memory.db");
    assert_eq!(semantic.resource(), "semantic_db:semantic_memory.db");
    assert_eq!(skills.resource(), "skill_db:skill_memory.db");

    let used =
        |name: &str, mode| manager.statistics(name).blocking().unwrap().get(&mode).map_or(0, |s| s.total_acquisitions);
    episodic.add(&episode()).await.unwrap();
    episodic.recall("x", 1).await.unwrap();
    assert_eq!(used(episodic.resource(), Mode::Write), 1);
    assert_eq!(used(episodic.resource(), Mode::Read), 1);

    let library = SkillLibrary::open(&path("skills.json"), access.clone()).unwrap();
    library.record_use("s", true).unwrap();
    library.search("s").unwrap();
    assert_eq!(used("skill_library", Mode::Read), 1);
    assert_eq!(used("skill_library:file", Mode::Write), 1);

    SiteMemory::open(&path("sites.json"), access).visit("x", "note").unwrap();
    assert_eq!(used("site_memory:sites.json", Mode::Write), 1);
}

#[test]
fn threads_rewrite_one_file_and_every_use_is_in_it() {
    let (manager, folder) = locks();
    let path = folder.path().join("skills.json");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (manager, path) = (&manager, &path);
            scope.spawn(move || {
                let library = SkillLibrary::open(path, access(manager, &format!("t{number}"))).unwrap();
                for turn in 0..20 {
                    library.record_use("s", turn % 2 == 0).unwrap();
                }
            });
        }
    });
    let library = SkillLibrary::open(&path, access(&manager, "reader")).unwrap();
    let skill = library.get("s").unwrap().unwrap();
    assert_eq!((skill.uses, skill.successes), (80, 40));
}

#[test]
fn a_library_finds_what_is_not_deprecated() {
    let (manager, folder) = locks();
    let library = SkillLibrary::open(&folder.path().join("skills.json"), access(&manager, "a")).unwrap();
    library.add("fill-form", "forms of web pages").unwrap();
    library.add("read-table", "tables of web pages").unwrap();
    assert_eq!(library.search("pages").unwrap(), ["fill-form", "read-table"]);
    library.deprecate("fill-form").unwrap();
    assert_eq!(library.search("pages").unwrap(), ["read-table"]);
    assert_eq!(library.get("none").unwrap(), None);
    let expected = Skill { description: "forms of web pages".into(), deprecated: true, ..Skill::default() };
    assert_eq!(library.get("fill-form").unwrap(), Some(expected));
}

#[test]
fn a_site_keeps_its_last_notes() {
    let (manager, folder) = locks();
    let memory = SiteMemory::open(&folder.path().join("sites.json"), access(&manager, "a"));
    assert_eq!(memory.get("x").unwrap(), None);
    for number in 0..7 {
        memory.visit("x", &number.to_string()).unwrap();
    }
    let site = memory.get("x").unwrap().unwrap();
    assert_eq!(site.visits, 7);
    assert_eq!(site.notes, ["2", "3", "4", "5", "6"]);
}

#[test]
fn a_torn_file_is_named_with_line_and_column() {
    let (manager, folder) = locks();
    let path = folder.path().join("sites.json");
    std::fs::write(&path, "{\n  \"x\": {\"vis").unwrap();
    let error = SiteMemory::open(&path, access(&manager, "a")).get("x").unwrap_err();
    assert!(matches!(error, Error::Json { .. }));
    assert!(error.to_string().contains("sites.json: line 2, column "), "{error}");
}

#[test]
fn a_rewrite_that_died_half_way_leaves_the_old_file() {
    let (manager, folder) = locks();
    let path = folder.path().join("skills.json");
    let library = SkillLibrary::open(&path, access(&manager, "a")).unwrap();
    library.record_use("s", true).unwrap();
    std::fs::write(folder.path().join("skills.json.new"), "{ \"s\": { \"us").unwrap();
    library.record_use("s", true).unwrap();
    assert_eq!(library.get("s").unwrap().unwrap().uses, 2);
    assert!(!Path::new(&folder.path().join("skills.json.new")).exists());
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_names_the_holder_and_changes_nothing() {
    let (manager, folder) = locks();
    let path = folder.path().join("m.db");
    let brief = concurrent_locks::LockManager::clone(&manager);
    let settings = brief.settings().write_timeout(Duration::from_millis(50));
    let brief = brief.with_settings(settings);
    let store = SkillMemoryStore::open(&path, access(&brief, "late")).unwrap();
    let holder = access(&manager, "early").write(store.resource()).await.unwrap();
    let Err(Error::Lock(error)) = store.record_use("s", true).await else { panic!("must be refused") };
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.to_string().contains("early"), "{error}");
    holder.release().unwrap();
    assert!(store.best(1).await.unwrap().is_empty());
}

#[test]
fn an_observer_is_notified_of_each_section_once() {
    let (manager, folder) = locks();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = Arc::clone(&heard);
    let before = Instant::now();
    let access = access(&manager, "a").observed(move |section| {
        assert!(before <= section.asked && section.asked <= section.granted && section.granted <= section.released);
        // By the clock of the locks, which may differ from ours by a little.
        let early = section.asked - Duration::from_millis(1);
        assert!(section.locks.iter().all(|lock| early <= lock.granted && lock.granted <= section.released));
        let names = section.locks.iter().map(|lock| lock.resource.clone()).collect::<Vec<_>>();
        ears.lock().unwrap().push((names, section.mode));
    });
    access.hold_blocking(&["x"], Mode::Write).unwrap().release().unwrap();
    drop(access.hold_blocking(&["x", "y"], Mode::Read).unwrap());
    drop(folder);
    let expected = [(vec!["x".to_owned()], Mode::Write), (vec!["x".to_owned(), "y".to_owned()], Mode::Read)];
    assert_eq!(*heard.lock().unwrap(), expected);
}
