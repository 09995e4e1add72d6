//! Fresh memory for outputs.

/// Zeros from the allocator, which for a large tensor costs no pass over them.
///
/// The system hands such memory out when it is first written, page by page. In pages of 4 KiB that takes
/// longer than to normalise what they hold: 45 ms for the 103 MB of a 32×64×112×112 tensor in `f32`, where
/// the kernel takes 9. So Linux is asked for pages of 2 MiB, which took 7 there. What an allocator
/// keeps and hands out again is in place already, and the advice changes nothing.
pub(super) fn zeros<E: bytemuck::Zeroable>(len: usize) -> Vec<E> {
    let values = bytemuck::allocation::zeroed_vec(len);
    #[cfg(target_os = "linux")]
    linux::advise_huge_pages(&values);
    values
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "advice to the system about memory is given by address")]
mod linux {
    use rustix::mm::{Advice, madvise};

    /// The size of a huge page: of x86-64, and of AArch64 with pages of 4 KiB. Where it is another, the
    /// advice is for a little less than it could be.
    const HUGE: usize = 2 << 20;

    /// Asks for huge pages in the part of a buffer that whole ones fit into.
    pub(super) fn advise_huge_pages<E>(values: &[E]) {
        let start = values.as_ptr().addr().next_multiple_of(HUGE);
        let end = values.as_ptr().addr() + size_of_val(values);
        let len = end.saturating_sub(start) / HUGE * HUGE;
        if len == 0 {
            return;
        }
        let offset = start - values.as_ptr().addr();
        let whole_pages = values.as_ptr().wrapping_byte_add(offset).cast_mut().cast();
        // SAFETY: the range lies inside `values`, which is allocated and borrowed for the call, and begins
        // and ends at a multiple of every page size up to 2 MiB. MADV_HUGEPAGE neither changes what memory
        // holds nor whether it may be accessed.
        let advised = unsafe { madvise(whole_pages, len, Advice::LinuxHugepage) };
        // A kernel without huge pages says so, and the memory is as good as it was.
        let _ = advised;
    }

    #[cfg(test)]
    mod tests {
        use std::fs::read_to_string;

        /// Whether the mapping that holds an address has the flag `hg`: huge pages advised.
        fn is_advised(address: usize) -> Option<bool> {
            let maps = read_to_string("/proc/self/smaps").ok()?;
            let mut inside = false;
            for line in maps.lines() {
                let range = line.split(' ').next()?.split_once('-');
                let range = range.and_then(|(start, end)| {
                    let number = |text| usize::from_str_radix(text, 16).ok();
                    Some(number(start)?..number(end)?)
                });
                if let Some(range) = range {
                    inside = range.contains(&address);
                } else if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
                    return Some(flags.split(' ').any(|flag| flag == "hg"));
                }
            }
            None
        }

        #[test]
        fn large_outputs_are_advised_and_small_ones_are_not() {
            let has_huge_pages =
                std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists();
            let large = super::super::zeros::<f32>(16 << 20);
            if let (true, Some(advised)) =
                (has_huge_pages, is_advised(large.as_ptr().addr() + size_of_val(&large[..]) / 2))
            {
                assert!(advised);
            }
            assert!(large.iter().all(|&value| value == 0.0));
            assert_eq!(super::super::zeros::<f64>(3), [0.0; 3]);
            assert!(super::super::zeros::<f64>(0).is_empty());
        }
    }
}
