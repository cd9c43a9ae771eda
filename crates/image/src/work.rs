use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::thread;

use crate::crew::{Crew, lock};
use crate::error::ImageError;

/// Runs `task` on every item, on up to `jobs` threads, heaviest item first; results come back in the items' order.
///
/// Who finds no item any more helps the others with theirs, for which there is one thread for each of the `lanes` that an
/// item has. The first failure stops the others at their next piece of work, and is what is returned.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    jobs: NonZeroUsize,
    lanes: usize,
    items: &[T],
    weight: impl Fn(&T) -> u64,
    task: impl Fn(&T, &Crew) -> Result<R, ImageError> + Sync,
) -> Result<Vec<R>, ImageError> {
    let mut order: Vec<(usize, &T)> = items.iter().enumerate().collect();
    order.sort_by_key(|(_, item)| std::cmp::Reverse(weight(item)));
    let workers = jobs.get().min(order.len().saturating_mul(1 + lanes)).max(1);
    let queue = Mutex::new(order.into_iter());
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let failure = Mutex::new(None);
    let crew = Crew::new(workers, items.len());
    let own = || {
        let _owner = crew.owner();
        while crew.stop().check().is_ok() {
            let next = lock(&queue).next();
            let Some((index, item)) = next else { return };
            match task(item, &crew) {
                Ok(result) => lock(&results).push((index, result)),
                Err(error) => {
                    lock(&failure).get_or_insert(error);
                    crew.stop().set();
                }
            }
        }
    };
    let work = || {
        own();
        crew.help();
    };
    thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut results = std::mem::take(&mut *lock(&results));
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

/// Begins a blob anew when a registry has forgotten an upload that cannot be continued, or a mirror gave another blob.
pub(crate) fn restarting<T>(
    mut attempt: impl FnMut() -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    let mut starts = 1;
    loop {
        match attempt() {
            Err(ImageError::Registry(error)) if error.begins_anew(starts) => starts += 1,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).unwrap();

    #[test]
    fn results_keep_the_order_of_the_items() {
        let doubled = in_parallel(TWO, 0, &[1_u64, 5, 3, 4], |n| *n, |n, _| Ok(n * 2)).unwrap();
        assert_eq!(doubled, [2, 10, 6, 8]);
        let none = in_parallel(TWO, 0, &[] as &[u64], |n| *n, |n, _| Ok(*n)).unwrap();
        assert_eq!(none, Vec::<u64>::new());
    }

    #[test]
    fn the_first_failure_stops_what_has_not_begun() {
        let one = NonZeroUsize::MIN;
        let begun = Mutex::new(Vec::new());
        let outcome = in_parallel(
            one,
            0,
            &[1_u64, 3, 2],
            |n| *n,
            |n, _| {
                begun.lock().unwrap().push(*n);
                if *n == 2 {
                    Err(ImageError::LayerOutOfRange {
                        layer: 9,
                        layers: 1,
                    })
                } else {
                    Ok(())
                }
            },
        );
        assert_eq!(
            outcome.unwrap_err().to_string(),
            ImageError::LayerOutOfRange {
                layer: 9,
                layers: 1
            }
            .to_string()
        );
        assert_eq!(*begun.lock().unwrap(), [3, 2]);
    }
}
