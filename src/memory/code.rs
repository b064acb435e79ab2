//! The pages of this program's code. They are the file's, in the page cache; a process is charged for those that it has
//! used, and around each of them the kernel maps fifteen more that it might use.

use std::ffi::{c_int, c_void};
use std::sync::Once;
use std::{ptr, slice};

/// Does so once in a process: breakpoints are written into these pages, and are to outlive what comes after the start.
pub(super) fn give_back_once() {
    static DONE: Once = Once::new();
    DONE.call_once(give_back);
}

/// Takes all of them out of this process: madvise(2), MADV_DONTNEED. The next use of one maps it again.
fn give_back() {
    // SAFETY: the function is called with what dl_iterate_phdr(3) says, and keeps nothing of it.
    unsafe { libc::dl_iterate_phdr(Some(of_program), ptr::null_mut()) };
}

/// Is called for the program first, and ends it there: code of libraries is shared with other programs.
unsafe extern "C" fn of_program(object: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr(3) gives one object, and as many headers as it says.
    let (object, headers) = unsafe {
        let object = &*object;
        (object, slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()))
    };
    for header in headers.iter().filter(|header| is_code(header)) {
        // SAFETY: sysconf(3) is asked for a constant.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let start = object.dlpi_addr as usize + header.p_vaddr as usize;
        let aligned = start / page * page;
        let length = start - aligned + header.p_memsz as usize;
        // SAFETY: nothing of ours writes to these pages: what is in them is in the file.
        unsafe { libc::madvise(ptr::without_provenance_mut(aligned), length, libc::MADV_DONTNEED) };
    }
    1
}

fn is_code(header: &Header) -> bool {
    header.p_type == libc::PT_LOAD && header.p_flags == libc::PF_R | libc::PF_X
}

#[cfg(target_pointer_width = "64")]
type Header = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type Header = libc::Elf32_Phdr;

#[cfg(test)]
mod tests {
    use std::fs;

    /// KiB of this program's code that this process has mapped.
    fn mapped() -> u64 {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let here = mapped as *const () as usize;
        let mut lines =
            maps.lines().skip_while(|line| !range(line).is_some_and(|range| range.contains(&here)));
        let resident = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn range(line: &str) -> Option<std::ops::Range<usize>> {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
    }

    #[test]
    fn code_that_was_used_is_not_kept_and_still_runs() {
        let before = mapped();
        super::give_back();
        let after = mapped();
        assert!(after < before, "{before} KiB, then {after} KiB");
    }
}
