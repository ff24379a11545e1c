//! What the planner fetches for streams, for several of them, for random reads and without room.

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;
const FILE: u64 = 256 * MIB;

fn planner() -> Planner {
    Planner::new(FILE, 64 * MIB)
}

fn bytes(parts: &[PlannedPart]) -> u64 {
    parts.iter().map(|part| part.range.end - part.range.start).sum()
}

fn read(planner: &mut Planner, offset: u64, length: u64) -> Plan {
    planner.on_read(&(offset..offset + length), |_| true)
}

#[test]
fn the_second_read_of_a_stream_begins_readahead_with_itself() {
    let mut planner = planner();
    assert_eq!(read(&mut planner, 0, 128 << 10), Plan::default());
    let plan = read(&mut planner, 128 << 10, 128 << 10);
    assert_eq!(plan.fetch[0].range.start, 128 << 10);
    assert_eq!(bytes(&plan.fetch), MIB);
    assert_eq!(plan.serve, plan.fetch[..1]);
}

#[test]
fn a_stream_fetches_each_byte_once_in_order_and_its_window_grows_to_the_maximum() {
    let mut planner = planner();
    let (mut fetched, mut ahead_most) = (128 << 10, 0);
    for offset in (0..FILE).step_by(128 << 10) {
        let plan = read(&mut planner, offset, 128 << 10);
        for part in &plan.fetch {
            assert_eq!(part.range.start, fetched);
            fetched = part.range.end;
        }
        assert!(offset == 0 || bytes(&plan.serve) > 0, "served from what was read ahead: {offset}");
        ahead_most = ahead_most.max(fetched - offset);
    }
    assert_eq!(fetched, FILE);
    assert!((12 * MIB..=WINDOW_MAX + MIB).contains(&ahead_most), "{ahead_most}");
    let kept: u64 = planner.streams.iter().flat_map(|stream| &stream.parts).count() as u64;
    assert!(kept <= 2, "what was read is forgotten: {kept} parts");
}

#[test]
fn several_streams_are_told_apart() {
    let mut planner = planner();
    for step in 0..64 {
        for stream in 0..8 {
            let plan = read(&mut planner, stream * 32 * MIB + step * 65536, 65536);
            assert_eq!(step == 0, plan.serve.is_empty(), "stream {stream} step {step}");
        }
    }
}

#[test]
fn random_and_strided_reads_fetch_nothing_ahead() {
    let mut planner = planner();
    for step in 1..1000 {
        assert!(read(&mut planner, (step * 7919 * 65536) % (FILE - 65536), 4096).fetch.is_empty());
    }
    for offset in (0..FILE).step_by(2 << 20) {
        assert!(read(&mut planner, offset, 65536).fetch.is_empty());
    }
}

#[test]
fn a_stream_that_is_left_is_forgotten_with_its_memory() {
    let mut planner = planner();
    let mut kept = 0_i64;
    let mut count = |plan: &Plan| {
        kept += plan.fetch.len() as i64 - plan.forget.len() as i64;
        kept
    };
    for step in 0..8 {
        let plan = read(&mut planner, step * MIB, MIB);
        count(&plan);
    }
    assert!(count(&Plan::default()) > 0);
    for _ in 0..=STREAM_IDLE_READS {
        let plan = read(&mut planner, 100 * MIB, 4096);
        count(&plan);
    }
    assert_eq!(count(&Plan::default()), 0);
}

#[test]
fn reads_that_overtake_each_other_are_one_stream() {
    let mut planner = planner();
    let mut fetched = 0;
    let step = 128 << 10;
    for pair in 0..100 {
        let offset = pair * 2 * step;
        let order = if pair < 2 { [offset, offset + step] } else { [offset + step, offset] };
        for (at, offset) in order.into_iter().enumerate() {
            let plan = read(&mut planner, offset, step);
            fetched += bytes(&plan.fetch);
            assert!(pair + at as u64 == 0 || !plan.serve.is_empty(), "pair {pair}");
        }
    }
    assert!(fetched <= 200 * step + WINDOW_MAX);
    assert_eq!(planner.streams.len(), 1);
}

#[test]
fn without_room_nothing_is_planned_and_the_stream_goes_on_when_there_is_some() {
    let mut planner = planner();
    for step in 0..10 {
        let plan = planner.on_read(&(step * MIB..(step + 1) * MIB), |_| false);
        assert_eq!((plan.fetch, plan.serve), (vec![], vec![]));
    }
    let plan = read(&mut planner, 10 * MIB, MIB);
    assert_eq!(plan.fetch[0].range.start, 10 * MIB, "what was read without it is not fetched again");
    let mut granted = 1;
    let first = planner.on_read(&(11 * MIB..12 * MIB), |_| std::mem::take(&mut granted) == 1);
    let planned = planner.streams[0].planned();
    for step in 12..40 {
        planner.on_read(&(step * MIB..(step + 1) * MIB), |_| false);
    }
    assert!(planned < 40 * MIB && first.fetch.len() <= 1);
    let plan = read(&mut planner, 40 * MIB, MIB);
    assert_eq!(plan.fetch[0].range.start, 40 * MIB);
}

#[test]
fn a_part_that_failed_ends_its_stream() {
    let mut planner = planner();
    read(&mut planner, 0, MIB);
    let plan = read(&mut planner, MIB, MIB);
    let all: Vec<_> = plan.fetch.iter().map(|part| part.id).collect();
    assert_eq!(planner.on_failure(all[0]), all);
    assert_eq!(planner.on_failure(all[0]), []);
    assert_eq!(read(&mut planner, 2 * MIB, MIB), Plan::default());
}

proptest! {
    #[test]
    fn whatever_is_read_the_plan_is_whole_and_fetches_little_more_than_was_read(
        reads in proptest::collection::vec((0_u64..4, 0_u64..64, 1_u64..40, any::<bool>()), 1..200),
    ) {
        let (file, block) = (40 * MIB + 12_345, 4 * MIB);
        let mut planner = Planner::new(file, block);
        let (mut total_read, mut total_fetched, mut begun) = (0, 0, 0);
        let mut ends = [0_u64; 4];
        for (lane, jump, length, admits) in reads {
            // Most reads go on in their lane, some jump.
            let from = if jump < 8 { jump * 5 * MIB } else { ends[usize::try_from(lane).unwrap()] };
            let range = from.min(file)..(from + length * 50_000).min(file);
            ends[usize::try_from(lane).unwrap()] = range.end;
            let plan = planner.on_read(&range, |_| admits);
            total_read += range.end - range.start;
            total_fetched += bytes(&plan.fetch);
            begun += u64::from(!plan.fetch.is_empty() && plan.serve.first() == plan.fetch.first());
            for part in &plan.fetch {
                prop_assert!(part.range.start < part.range.end && part.range.end <= file);
                prop_assert_eq!(part.range.start / block, (part.range.end - 1) / block);
            }
            if let (Some(first), Some(last)) = (plan.serve.first(), plan.serve.last()) {
                prop_assert!(first.range.start <= range.start && range.end <= last.range.end);
                prop_assert!(plan.serve.windows(2).all(|pair| pair[0].range.end == pair[1].range.start));
                prop_assert!(plan.serve.iter().all(|part| !plan.forget.contains(&part.id)));
            }
            for stream in &planner.streams {
                prop_assert!(stream.fetched <= stream.read + stream.window, "{:?}", stream);
            }
        }
        // A window is never larger than what was read of its stream and the first one.
        prop_assert!(total_fetched <= 2 * total_read + begun * 2 * WINDOW_MIN, "{} {}", total_fetched, total_read);
    }
}
