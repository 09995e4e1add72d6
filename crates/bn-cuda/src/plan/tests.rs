use super::*;

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
    let of = |problem: Problem| DType::ELEMENTS.map(|dtype| Plan::new(&problem, dtype));
    problems().into_iter().flat_map(of)
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
fn rows_have_whole_units_as_wide_as_they_can_be() {
    let width = |spatial, dtype| {
        let problem = Problem::new(&[2, 3, spatial], Layout::ChannelsFirst).unwrap();
        Plan::new(&problem, dtype).width
    };
    assert_eq!([196, 49, 98].map(|spatial| width(spatial, DType::F32)), [4, 1, 1]);
    assert_eq!([3136, 196, 49].map(|spatial| width(spatial, DType::BF16)), [8, 4, 1]);
    assert_eq!([98, 49].map(|spatial| width(spatial, DType::F64)), [2, 1]);
}

#[test]
fn tiles_cover_each_row_and_none_is_empty() {
    for plan in plans() {
        let Shape { tiles, tile_units, channels, .. } = plan.shape;
        if plan.problem.layout() == Layout::ChannelsFirst {
            assert_eq!((tiles, tile_units), (channels, 1));
            continue;
        }
        let width = tile_units * plan.width as u64;
        assert!(tiles * width >= channels && (tiles - 1) * width < channels, "{plan:?}");
    }
}

#[test]
fn blocks_are_what_the_kernels_are_compiled_for() {
    for plan in plans() {
        let Geometry { blocks, threads, shared_bytes, cluster } = plan.reducing(4);
        assert_eq!(cluster, 1);
        assert!(threads.is_power_of_two() && (32..=256).contains(&threads), "{plan:?}");
        assert!(blocks >= 1 && i32::try_from(blocks).is_ok(), "{plan:?}");
        // What every device gives a block without being asked.
        assert!(shared_bytes <= 48 << 10, "{plan:?}");
        // Reductions end with a thread for each column.
        assert!(plan.columns() <= threads as usize, "{plan:?}");
        assert_eq!(plan.writing(), Geometry { shared_bytes: 0, ..plan.reducing(4) });
    }
}

#[test]
fn a_byte_of_bits_never_lies_in_two_warps_or_rows() {
    for plan in plans() {
        let per_byte = (BITS / plan.width) as u64;
        let shape = plan.shape;
        match plan.problem.layout() {
            Layout::ChannelsFirst => {
                assert_eq!(shape.row_units % per_byte, 0, "{plan:?}");
                assert_eq!(shape.part_length % per_byte, 0, "{plan:?}");
                let step =
                    shape.step_rows * shape.row_units + shape.step_columns / plan.width as u64;
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
    let plan = |dims: &[usize]| {
        let problem = Problem::new(dims, Layout::ChannelsFirst).unwrap();
        Plan::new(&problem, DType::F32)
    };
    assert!(plan(&[1, 3, 4000, 4000]).shape.blocks as usize >= ENOUGH_BLOCKS);
    assert!(plan(&[32, 64, 112, 112]).shape.blocks as usize >= ENOUGH_BLOCKS);
    assert_eq!(plan(&[2, 3, 5]).threads, 32);
    assert_eq!((plan(&[32, 2048, 7, 7]).threads, plan(&[32, 2048, 7, 7]).parts()), (128, 1));
}

#[test]
fn more_than_four_billion_values_are_counted_right() {
    let problem = Problem::new(&[2, 1, 1 << 16, 1 << 16], Layout::ChannelsFirst).unwrap();
    let plan = Plan::new(&problem, DType::F32);
    assert_eq!(plan.shape.samples * plan.shape.row_units, 1 << 31);
    assert!(plan.parts() <= MOST_PARTS);
}

#[test]
fn blocks_and_threads_suffice_and_stay_in_range() {
    assert_eq!((merging(9, 1).blocks, merging(9, 1).threads), (9, 32));
    assert_eq!((merging(9, 49).threads, merging(9, 4096).threads), (64, 256));
    assert_eq!((threads(129).blocks, threads(129).threads), (2, 128));
    assert_eq!(merging(usize::MAX, 1).blocks, i32::MAX as u32);
}

#[test]
fn a_block_merges_all_parts_of_a_channel() {
    for plan in plans() {
        assert!(
            plan.parts() <= PARTS_OF_A_THREAD * merging(1, plan.parts()).threads as usize,
            "{plan:?}"
        );
    }
}

#[test]
fn clusters_stay_within_what_devices_with_them_have() {
    let mut seen = [false; 2];
    for plan in plans() {
        for (tensors, doubles) in [(1, [3, 4, 10]), (2, [2, 2, 7])] {
            let Some((geometry, residence)) = plan.resident(tensors, doubles) else { continue };
            let steps = plan.shape.part_length / plan.step() as u64;
            assert_eq!(plan.problem.groups(), 1, "{plan:?}");
            assert_eq!(u64::from(geometry.cluster), plan.shape.parts, "{plan:?}");
            assert_eq!(u64::from(geometry.blocks), plan.shape.blocks, "{plan:?}");
            assert!(geometry.cluster as usize <= MOST_BLOCKS_OF_CLUSTER, "{plan:?}");
            assert!(geometry.shared_bytes as usize <= MOST_SHARED_BYTES, "{plan:?}");
            assert!(residence.units_at.is_multiple_of(ALIGNMENT as u64), "{plan:?}");
            // Whole batches are read again, or all.
            let Residence { again, .. } = residence;
            assert!(again.is_multiple_of(BATCH as u64) || again == steps, "{plan:?}");
            seen[usize::from(again > 0)] = true;
        }
    }
    assert_eq!(seen, [true; 2], "parts that fit in shared memory, and parts that do not");
}

#[test]
fn what_stays_on_the_chip_follows_from_the_bytes_of_a_channel() {
    let cluster = |layout: Layout, dims: &[usize], dtype| {
        let mut dims = dims.to_vec();
        if layout == Layout::ChannelsLast {
            dims[1..].rotate_left(1);
        }
        let plan = Plan::new(&Problem::new(&dims, layout).unwrap(), dtype);
        plan.resident(1, [3, 4, 10]).map(|(geometry, _)| geometry.cluster)
    };
    let first = |dims: &[usize]| cluster(Layout::ChannelsFirst, dims, DType::F32);
    assert_eq!(first(&[32, 256, 14, 14]), Some(1));
    assert_eq!(first(&[32, 128, 28, 28]), Some(2));
    assert_eq!(first(&[32, 64, 112, 112]), Some(16));
    assert_eq!(first(&[256, 64, 56, 56]), None);
    let last = |dims: &[usize], dtype| cluster(Layout::ChannelsLast, dims, dtype);
    assert_eq!(last(&[32, 2048, 7, 7], DType::F32), Some(4));
    assert_eq!(last(&[32, 256, 14, 14], DType::F32), Some(8));
    assert_eq!(last(&[32, 128, 28, 28], DType::F32), None);
    assert_eq!(last(&[32, 256, 14, 14], DType::BF16), None);
}
