//! A JSON file that threads rewrite, and a lock with a time limit:
//! `cargo run -p agent-memories --example skill_library`

#![expect(clippy::print_stdout, reason = "an example talks on stdout")]

use std::{error::Error, thread, time::Duration};

use agent_memories::{Access, SkillLibrary};
use concurrent_locks::{ErrorKind, LockManager};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("skill-library-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("skills.json");
    let locks = LockManager::local();

    let library = SkillLibrary::open(&path, Access::locked(locks.owner("librarian")?))?;
    library.add("fill-form", "Fills in a web form field by field")?;
    library.add("extract-table", "Reads a table of a web page into rows")?;

    thread::scope(|scope| {
        let agents: Vec<_> = (0..4)
            .map(|number| {
                let (locks, path) = (&locks, &path);
                scope.spawn(move || -> Result<(), agent_memories::Error> {
                    let owner = locks.owner(&format!("agent-{number}"))?;
                    let library = SkillLibrary::open(path, Access::locked(owner))?;
                    (0..25).try_for_each(|use_| library.record_use("fill-form", use_ % 5 != 0))
                })
            })
            .collect();
        agents.into_iter().try_for_each(|agent| agent.join().expect("no agent panics"))
    })?;

    library.reload()?;
    println!("tables: {:?}", library.search("table")?);
    println!("fill-form after 4 agents used it 25 times each: {:?}", library.get("fill-form")?);

    // Somebody holds the file; we wait 100 ms and learn who it is.
    let auditor = locks.owner("auditor")?;
    let audit = auditor.read("skill_library:file").note("yearly audit").blocking()?;
    let refused = locks.write("skill_library:file").timeout(Duration::from_millis(100)).blocking();
    match refused {
        Err(error) if error.kind() == ErrorKind::TimedOut => println!("as it should: {error}"),
        other => println!("unexpected: {other:?}"),
    }
    drop(audit);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
