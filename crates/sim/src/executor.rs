//! One thread, virtual time, and the order of everything from the seed (SIM-01, SIM-02).
//!
//! Tasks belong to processes; a process is killed by dropping all of its tasks where they stand. Among the tasks that
//! are ready the dice choose. Time is tokio's paused clock, which moves only when nothing is ready, so that the engine's
//! own tasks, timers and channels run here as they are shipped: what they start by themselves shares the thread and is
//! let in between at moments that the dice choose. Law: the set of ready tasks is sorted, so that the order in which
//! wakers fire, which no library promises, decides nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use antiphon_model::Micros;
use tokio::time::Instant;

use crate::{Dice, trace::Trace};

/// The moment at which every run begins: 2026-01-31 12:00 UTC, in microseconds since 1970.
pub const BEGINNING_US: i64 = 1_769_860_800_000_000;
/// After one poll in so many, what the engine started by itself is let in.
const YIELD_ONE_IN: u64 = 4;

/// A process: a server, a database, a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(pub u32);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The handle of a running simulation; cheap to clone.
#[derive(Clone)]
pub struct Simulation {
    shared: Arc<Shared>,
    clock: Clock,
    dice: Dice,
    trace: Trace,
}

struct Shared {
    board: Mutex<Board>,
    ticks: AtomicU64,
}

#[derive(Default)]
struct Board {
    ready: BTreeSet<u64>,
    started: Vec<(u64, ProcessId, Work)>,
    /// With the number below which its tasks are: a process may be started again at once.
    killed: Vec<(ProcessId, u64)>,
    next: u64,
    outer: Option<Waker>,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        // A panic ends the run.
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Simulation {
    /// Starts a task of a process.
    pub fn start(&self, process: ProcessId, work: impl Future<Output = ()> + Send + 'static) {
        let mut board = self.shared.board();
        let id = board.next;
        board.next += 1;
        board.started.push((id, process, Box::pin(work)));
        board.ready.insert(id);
        if let Some(waker) = &board.outer {
            waker.wake_by_ref();
        }
    }

    /// Kills a process: its tasks are dropped where they stand, before anything else runs.
    pub fn kill(&self, process: ProcessId) {
        let mut board = self.shared.board();
        let before = board.next;
        board.killed.push((process, before));
        if let Some(waker) = &board.outer {
            waker.wake_by_ref();
        }
    }

    /// Lets others have a turn.
    pub async fn pass(&self) {
        let mut passed = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut passed, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Keeps a line for every event from now on.
    pub fn listen(&self) {
        self.trace.listen();
    }

    /// Keeps a line, where lines are kept.
    pub fn say(&self, line: impl FnOnce() -> String) {
        self.trace.say(self.clock.elapsed_us(), line);
    }

    /// Returns the lines kept so far.
    pub fn lines(&self) -> Vec<String> {
        self.trace.lines()
    }

    /// Returns a number above every one before: the order of what happened, also within a moment.
    pub fn tick(&self) -> u64 {
        self.shared.ticks.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the true time.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the dice.
    pub fn dice(&self) -> &Dice {
        &self.dice
    }
}

/// A clock; its time may differ from the true one, its sleeps do not.
#[derive(Clone)]
pub struct Clock {
    start: Instant,
    skew_us: Arc<AtomicI64>,
}

impl Clock {
    /// Returns the time by this clock.
    pub fn now(&self) -> Micros {
        Micros(BEGINNING_US + self.elapsed_us() as i64 + self.skew_us.load(Ordering::Relaxed))
    }

    /// Returns the time by this clock in milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.now().0 / 1_000).unsigned_abs()
    }

    /// Returns the true microseconds since the run began.
    pub fn elapsed_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits; time is rounded up to whole milliseconds, as the timers of the engine's tasks are.
    pub async fn sleep_ms(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Returns the true moment, as the engine's feeds take it.
    pub fn instant(&self) -> Instant {
        self.start + self.start.elapsed()
    }

    /// Returns another clock that is off by so much.
    #[must_use]
    pub fn skewed(&self, skew_us: i64) -> Clock {
        Clock { start: self.start, skew_us: Arc::new(AtomicI64::new(skew_us)) }
    }

    /// Makes the clock jump, for everyone who holds it.
    pub fn jump(&self, by_us: i64) {
        self.skew_us.fetch_add(by_us, Ordering::Relaxed);
    }
}

/// Runs a simulation until `main` has ended; everything else is dropped then.
///
/// # Errors
/// Fails where the runtime cannot be made.
pub fn run<M>(seed: u64, main: impl FnOnce(Simulation) -> M) -> std::io::Result<M::Output>
where
    M: Future,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let output = runtime.block_on(tokio::task::unconstrained(async {
        let shared =
            Arc::new(Shared { board: Mutex::new(Board { next: 1, ..Board::default() }), ticks: AtomicU64::new(1) });
        let clock = Clock { start: Instant::now(), skew_us: Arc::default() };
        let dice = Dice::new(seed);
        let simulation = Simulation { shared: Arc::clone(&shared), clock, dice: dice.fork(), trace: Trace::default() };
        let main = Box::pin(main(simulation));
        Loop { shared, dice, tasks: BTreeMap::new(), main }.await
    }));
    // What the engine started and nobody waits for is dropped with the runtime.
    drop(runtime);
    Ok(output)
}

/// The number of the main task.
const MAIN: u64 = 0;

struct Loop<M> {
    shared: Arc<Shared>,
    dice: Dice,
    tasks: BTreeMap<u64, (ProcessId, Work, Waker)>,
    main: Pin<Box<M>>,
}

impl<M: Future> Future for Loop<M> {
    type Output = M::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<M::Output> {
        {
            let mut board = self.shared.board();
            if board.outer.is_none() {
                board.ready.insert(MAIN);
            }
            board.outer = Some(context.waker().clone());
        }
        let main_waker = self.waker(MAIN);
        loop {
            self.adopt();
            let Some(id) = self.choose() else { return Poll::Pending };
            if id == MAIN {
                if let Poll::Ready(output) = self.main.as_mut().poll(&mut Context::from_waker(&main_waker)) {
                    return Poll::Ready(output);
                }
            } else if let Some((_, work, waker)) = self.tasks.get_mut(&id) {
                let waker = waker.clone();
                if work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                    self.tasks.remove(&id);
                }
            }
            if self.dice.below(YIELD_ONE_IN) == 0 {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }
}

impl<M> Loop<M> {
    fn waker(&self, id: u64) -> Waker {
        Waker::from(Arc::new(TaskWaker { id, shared: Arc::clone(&self.shared) }))
    }

    /// Takes in new tasks and drops those of killed processes.
    fn adopt(&mut self) {
        loop {
            let (started, killed) = {
                let mut board = self.shared.board();
                (std::mem::take(&mut board.started), std::mem::take(&mut board.killed))
            };
            if started.is_empty() && killed.is_empty() {
                return;
            }
            for (id, process, work) in started {
                let waker = self.waker(id);
                self.tasks.insert(id, (process, work, waker));
            }
            // Dropping a task may start or kill others.
            let dies = |id: u64, of: ProcessId| killed.iter().any(|(process, before)| *process == of && id < *before);
            let dead: Vec<u64> =
                self.tasks.iter().filter(|(id, (process, ..))| dies(**id, *process)).map(|(id, _)| *id).collect();
            for id in dead {
                drop(self.tasks.remove(&id));
            }
        }
    }

    fn choose(&self) -> Option<u64> {
        let mut board = self.shared.board();
        board.ready.retain(|id| *id == MAIN || self.tasks.contains_key(id));
        let nth = self.dice.below(board.ready.len() as u64) as usize;
        let id = board.ready.iter().nth(nth).copied()?;
        board.ready.remove(&id);
        Some(id)
    }
}

struct TaskWaker {
    id: u64,
    shared: Arc<Shared>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut board = self.shared.board();
        if board.ready.insert(self.id)
            && let Some(outer) = &board.outer
        {
            outer.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(seed: u64) -> Vec<(u64, u32)> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        run(seed, |simulation| {
            let seen = Arc::clone(&seen);
            async move {
                for number in 0..20 {
                    let (clock, seen) = (simulation.clock().clone(), Arc::clone(&seen));
                    let dice = simulation.dice().clone();
                    simulation.start(ProcessId(number), async move {
                        for _ in 0..5 {
                            clock.sleep_ms(dice.between(1, 3)).await;
                            seen.lock().unwrap().push((clock.elapsed_us(), number));
                        }
                    });
                }
                simulation.clock().sleep_ms(1_000_000).await;
            }
        })
        .unwrap();
        Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_order_and_another_one_another_sim_02() {
        let first = trace(1);
        assert_eq!(first.len(), 100);
        assert_eq!(first, trace(1));
        assert_ne!(first, trace(2));
        assert!(first.windows(2).all(|pair| pair[0].0 <= pair[1].0), "time never goes back");
    }

    #[test]
    fn a_killed_process_does_nothing_more_and_others_go_on_sim_01() {
        let count = Arc::new(Mutex::new([0u32; 2]));
        run(3, |simulation| {
            let count = Arc::clone(&count);
            async move {
                for process in 0..2usize {
                    let (clock, count) = (simulation.clock().clone(), Arc::clone(&count));
                    simulation.start(ProcessId(process as u32), async move {
                        loop {
                            clock.sleep_ms(10).await;
                            count.lock().unwrap()[process] += 1;
                        }
                    });
                }
                simulation.clock().sleep_ms(105).await;
                simulation.kill(ProcessId(0));
                simulation.clock().sleep_ms(100).await;
            }
        })
        .unwrap();
        assert_eq!(*count.lock().unwrap(), [10, 20]);
    }

    #[test]
    fn clocks_differ_and_jump_while_time_goes_on_sim_01() {
        run(4, |simulation| async move {
            let off = simulation.clock().skewed(-5_000_000);
            let same = off.clone();
            off.jump(1_000_000);
            simulation.clock().sleep_ms(7).await;
            assert_eq!(same.now().0 + 4_000_000, simulation.clock().now().0);
            assert_eq!(simulation.clock().now(), Micros(BEGINNING_US + 7_000));
        })
        .unwrap();
    }
}
