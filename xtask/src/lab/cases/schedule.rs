//! Which cases run in which guest, and how many guests run side by side.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

use lab_wire::Failure;

use super::header::Case;

/// Cases that one guest runs one after another.
pub type Batch<'a> = Vec<&'a Case>;

/// The cases by shape; where several guests run side by side, the largest shape is dealt out to as many.
pub fn batches<'a>(cases: &[&'a Case], jobs: usize) -> Vec<Batch<'a>> {
    let mut groups = groups(cases);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut batches: Vec<Batch<'a>> = Vec::new();
    for group in groups {
        let parts = if batches.is_empty() { jobs.clamp(1, group.len().max(1)) } else { 1 };
        batches.extend((0..parts).map(|part| group.iter().copied().skip(part).step_by(parts).collect()));
    }
    batches
}

/// The cases by shape, in the order of their first.
pub fn groups<'a>(cases: &[&'a Case]) -> Vec<Batch<'a>> {
    let mut groups: Vec<Batch<'a>> = Vec::new();
    for &case in cases {
        match groups.iter_mut().find(|group| group[0].shape == case.shape) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    groups
}

/// Does `work` for every item, `jobs` of them at a time; the first failure stops what has not begun.
pub fn side_by_side<T: Send>(
    items: Vec<T>,
    jobs: usize,
    work: impl Fn(T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let queue = Mutex::new(VecDeque::from(items));
    let next = || queue.lock().expect("nobody panics with it").pop_front();
    let worker = || {
        while let Some(item) = next() {
            if let Err(failure) = work(item) {
                queue.lock().expect("as above").clear();
                return Err(failure);
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker that panicked has said why"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::cases::header;
    use crate::lab::repository;

    #[test]
    fn every_case_is_in_one_batch_however_many_guests_there_are() {
        let cases = header::read_all(&repository().join("lab/cases")).unwrap();
        let cases: Vec<&Case> = cases.iter().collect();
        for jobs in [1, 2, 3] {
            let batches = batches(&cases, jobs);
            let mut names: Vec<&str> = batches.iter().flatten().map(|case| case.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>());
            assert_eq!(batches.len(), groups(&cases).len() + jobs - 1);
            assert!(batches.iter().all(|batch| batch.iter().all(|case| case.shape == batch[0].shape)));
        }
    }

    #[test]
    fn work_is_shared_and_ends_at_the_first_failure() {
        let done = Mutex::new(Vec::new());
        side_by_side((0..9).collect(), 3, |n| {
            done.lock().unwrap().push(n);
            Ok(())
        })
        .unwrap();
        assert_eq!(done.into_inner().unwrap().len(), 9);
        let fails = |n| if n == 1 { Err(Failure::new("no")) } else { Ok(()) };
        assert!(side_by_side(vec![0, 1, 2], 1, fails).is_err());
    }
}
