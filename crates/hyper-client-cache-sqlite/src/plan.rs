//! From queued tasks to few statements: tasks of one kind are brought together where no task on the same key stands
//! between them. Pure.

use std::collections::HashMap;

use hyper_client_cache_core::storage::CacheKey;

use crate::queue::Task;
use crate::sql::Table;

/// Tasks that become one run of statements. Members are positions in the list that was planned.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Write(Table, Vec<usize>),
    Delete(Table, Vec<usize>),
    /// A task that stands for itself.
    One(usize),
}

/// The groups of `tasks`, to be executed in order. Tasks on one key keep theirs.
pub(crate) fn plan(tasks: &[&Task]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // The last group that touches a key, and the first that may still grow.
    let mut last: HashMap<(Table, CacheKey), usize> = HashMap::with_capacity(tasks.len());
    let mut first = 0;
    for (at, task) in tasks.iter().enumerate() {
        let (table, key, is_write) = match task {
            Task::Write(table, key, _) => (*table, *key, true),
            Task::Delete(table, key) => (*table, *key, false),
            _ => {
                groups.push(Group::One(at));
                first = groups.len();
                continue;
            }
        };
        let from = last.get(&(table, key)).copied().unwrap_or(first).max(first);
        let fitting = groups.iter_mut().enumerate().skip(from).find_map(|(number, group)| match group {
            Group::Write(of, members) if is_write && *of == table => Some((number, members)),
            Group::Delete(of, members) if !is_write && *of == table => Some((number, members)),
            _ => None,
        });
        let number = match fitting {
            Some((number, members)) => {
                members.push(at);
                number
            }
            None => {
                let members = vec![at];
                groups.push(if is_write { Group::Write(table, members) } else { Group::Delete(table, members) });
                groups.len().saturating_sub(1)
            }
        };
        last.insert((table, key), number);
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::NewRow;
    use hyper_client_cache_core::storage::Entry;

    fn write(key: &str) -> Task {
        Task::Write(Table::Responses, CacheKey::new(key).unwrap(), NewRow::new(Entry::new("", ""), 0))
    }

    fn delete(key: &str) -> Task {
        Task::Delete(Table::Responses, CacheKey::new(key).unwrap())
    }

    fn planned(tasks: &[Task]) -> Vec<Group> {
        plan(&tasks.iter().collect::<Vec<_>>())
    }

    #[test]
    fn tasks_on_different_keys_come_together() {
        let tasks = [write("a"), delete("b"), write("c"), delete("d")];
        assert_eq!(
            planned(&tasks),
            [Group::Write(Table::Responses, vec![0, 2]), Group::Delete(Table::Responses, vec![1, 3])]
        );
    }

    #[test]
    fn tasks_on_one_key_keep_their_order() {
        let tasks = [write("a"), delete("a"), write("a"), write("b"), delete("b")];
        assert_eq!(
            planned(&tasks),
            [
                Group::Write(Table::Responses, vec![0, 3]),
                Group::Delete(Table::Responses, vec![1, 4]),
                Group::Write(Table::Responses, vec![2]),
            ]
        );
    }

    #[test]
    fn nothing_passes_a_task_that_stands_for_itself() {
        let tasks = [write("a"), Task::Clear(Table::Responses), write("b")];
        assert_eq!(
            planned(&tasks),
            [Group::Write(Table::Responses, vec![0]), Group::One(1), Group::Write(Table::Responses, vec![2])]
        );
    }
}
