use super::*;

const SIZES: [usize; 3] = [2, 4, 8];

fn problems() -> Vec<Problem> {
    let shapes: [&[usize]; 12] = [
        &[1, 1, 2],
        &[2, 3, 5],
        &[5, 7],
        &[4, 2, 7, 7],
        &[3, 100, 3, 3],
        &[32, 64, 112, 112],
        &[32, 2048, 7, 7],
        &[256, 1024, 14, 14],
        &[1, 3, 4000, 4000],
        &[2, 1, 1 << 16, 1 << 16],
        &[4, 100_000, 2],
        &[1_000_000, 5],
    ];
    let mut problems = Vec::new();
    for shape in shapes {
        for layout in Layout::ALL {
            let mut dims = shape.to_vec();
            if layout == Layout::ChannelsLast {
                dims[1..].rotate_left(1);
            }
            let problem = Problem::new(&dims, layout).unwrap();
            problems.push(problem);
            problems.extend(problem.with_groups(2));
        }
    }
    problems
}

fn plans() -> impl Iterator<Item = Plan> {
    problems().into_iter().flat_map(|problem| SIZES.map(|size| Plan::new(&problem, size)))
}

#[test]
fn parts_cover_each_channel_and_none_is_empty() {
    for plan in plans() {
        let shape = plan.shape;
        let length = match plan.problem.layout() {
            Layout::ChannelsFirst => shape.samples * shape.row_units,
            Layout::ChannelsLast => shape.samples * shape.spatial,
        };
        assert!(shape.parts * shape.part_length >= length, "{plan:?}");
        assert!((shape.parts - 1) * shape.part_length < length, "{plan:?}");
        assert_eq!(shape.blocks, shape.groups * shape.tiles * shape.parts, "{plan:?}");
        assert!(plan.parts() <= MOST_PARTS, "{plan:?}");
    }
}

#[test]
fn tiles_cover_each_row_and_none_is_empty() {
    for plan in plans() {
        let Shape { tiles, tile_units, channels, .. } = plan.shape;
        if plan.problem.layout() == Layout::ChannelsFirst {
            assert_eq!((tiles, tile_units), (channels, 1));
            continue;
        }
        let width = tile_units * plan.lanes as u64;
        assert!(tiles * width >= channels && (tiles - 1) * width < channels, "{plan:?}");
    }
}

#[test]
fn blocks_are_what_the_kernels_are_compiled_for() {
    for plan in plans() {
        let Geometry { blocks, threads, shared_bytes, .. } = plan.reducing(4);
        assert!(threads.is_power_of_two() && (32..=256).contains(&threads), "{plan:?}");
        assert!(blocks >= 1 && i32::try_from(blocks).is_ok(), "{plan:?}");
        // What every device gives a block without being asked.
        assert!(shared_bytes <= 48 << 10, "{plan:?}");
        // Reductions end with a thread for each column.
        let columns = shared_bytes / (threads / 32 * 4 * 8);
        assert!(columns <= threads, "{plan:?}");
        assert_eq!(plan.writing(), Geometry { shared_bytes: 0, ..plan.reducing(4) });
    }
}

#[test]
fn a_byte_of_bits_never_lies_in_two_warps_or_rows() {
    for plan in plans() {
        let per_byte = (BITS / plan.lanes) as u64;
        let shape = plan.shape;
        match plan.problem.layout() {
            Layout::ChannelsFirst => {
                assert_eq!(shape.row_units % per_byte, 0, "{plan:?}");
                assert_eq!(shape.part_length % per_byte, 0, "{plan:?}");
                let step = shape.step_rows * shape.row_units + shape.step_units;
                assert_eq!(step, plan.threads as u64, "{plan:?}");
            }
            Layout::ChannelsLast => {
                assert_eq!(shape.tile_units % per_byte, 0, "{plan:?}");
                assert_eq!(plan.threads as u64 % shape.tile_units, 0, "{plan:?}");
            }
        }
        let rows = plan.problem.rows() as u64;
        assert_eq!(rows * shape.row_bytes, plan.problem.bits_len() as u64, "{plan:?}");
    }
}

#[test]
fn large_problems_fill_a_device_and_small_ones_waste_no_threads() {
    let plan = |dims: &[usize]| Plan::new(&Problem::new(dims, Layout::ChannelsFirst).unwrap(), 4);
    assert!(plan(&[1, 3, 4000, 4000]).shape.blocks >= ENOUGH_BLOCKS as u64);
    assert!(plan(&[32, 64, 112, 112]).shape.blocks >= ENOUGH_BLOCKS as u64);
    assert_eq!(plan(&[2, 3, 5]).threads, 32);
    assert_eq!((plan(&[32, 2048, 7, 7]).threads, plan(&[32, 2048, 7, 7]).parts()), (128, 1));
}

#[test]
fn more_than_four_billion_values_are_counted_right() {
    let problem = Problem::new(&[2, 1, 1 << 16, 1 << 16], Layout::ChannelsFirst).unwrap();
    let plan = Plan::new(&problem, 4);
    assert_eq!(plan.shape.samples * plan.shape.row_units, 1 << 31);
    assert!(plan.parts() <= MOST_PARTS);
}

#[test]
fn warps_and_threads_suffice_and_stay_in_range() {
    assert_eq!((warps(9).blocks, warps(9).threads), (3, 128));
    assert_eq!((threads(129).blocks, threads(129).threads), (2, 128));
    assert_eq!(warps(usize::MAX).blocks, i32::MAX as u32);
}

#[test]
fn teams_are_whole_and_fit_a_device() {
    for plan in plans() {
        let Some(team) = plan.teams(4) else {
            let is_one = plan.problem.groups() == 1;
            assert!(plan.problem.layout() == Layout::ChannelsLast || !is_one, "{plan:?}");
            continue;
        };
        assert_eq!((team.blocks as usize, team.is_cooperative), (plan.parts(), plan.parts() > 1));
        assert_eq!(plan.teams_of(team, 0), None);
        for resident in [1, 264, 100_000] {
            let Some(all) = plan.teams_of(team, resident) else { continue };
            assert!(all.blocks as usize <= resident && all.blocks % team.blocks == 0, "{plan:?}");
            assert!((all.blocks / team.blocks) as usize <= plan.problem.channels(), "{plan:?}");
        }
    }
}
