//! The fence around system calls: seccomp.
//!
//! Three filters, of which the kernel takes the strictest verdict: calls that kill, arguments that are
//! refused, and the calls that there are at all.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Conditions that must all hold.
type Rule = Vec<SeccompCondition>;

/// Restricts the calling thread.
pub(super) fn restrict() -> io::Result<()> {
    // The list of what there is comes last: it has no room for putting up another filter.
    let filters = [
        filter(fatal(), SeccompAction::Allow, SeccompAction::KillProcess)?,
        filter(refused()?, SeccompAction::Allow, SeccompAction::Errno(libc::EPERM as u32))?,
        filter(known(), SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow)?,
    ];
    for program in &filters {
        apply_filter(program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn filter(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    on_match: SeccompAction,
) -> io::Result<BpfProgram> {
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules.into_iter().collect(), otherwise, on_match, arch);
    BpfProgram::try_from(filter.map_err(io::Error::other)?).map_err(io::Error::other)
}

fn always(calls: &[c_long]) -> BTreeMap<c_long, Vec<SeccompRule>> {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

/// What no library calls on its own account: other programs, other processes, the kernel itself.
fn fatal() -> BTreeMap<c_long, Vec<SeccompRule>> {
    always(&[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_open_tree,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_open_by_handle_at,
        libc::SYS_reboot,
        libc::SYS_swapon,
    ])
}

/// Calls that are needed, with arguments that are not.
fn refused() -> io::Result<BTreeMap<c_long, Vec<SeccompRule>>> {
    let refused: [(c_long, Vec<Rule>); 7] = [
        (libc::SYS_socket, sockets()?),
        // Threads yes, processes no. `clone3` hides its flags in memory; the C library falls back.
        (libc::SYS_clone, vec![vec![has(0, CLONE_THREAD, 0)?]]),
        (libc::SYS_tgkill, vec![differs(0, &[u64::from(std::process::id())])?]),
        (libc::SYS_mmap, vec![vec![has(2, WRITE_EXEC, WRITE_EXEC)?]]),
        (libc::SYS_mprotect, new_code()?),
        (libc::SYS_prctl, vec![differs(0, &PRCTLS)?]),
        (libc::SYS_ioctl, vec![differs(1, &IOCTLS.map(|code| u64::from(code as u32)))?]),
    ];
    let mut rules = BTreeMap::new();
    for (call, conditions) in refused {
        let made: Result<_, _> = conditions.into_iter().map(SeccompRule::new).collect();
        rules.insert(call, made.map_err(io::Error::other)?);
    }
    Ok(rules)
}

const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;
const WRITE_EXEC: u64 = (libc::PROT_WRITE | libc::PROT_EXEC) as u64;

/// The name of a thread, of a mapping (glibc 2.36); no new privileges, which putting up a filter asks
/// for again.
const PRCTLS: [u64; 4] = [
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_VMA as u64,
    libc::PR_SET_NO_NEW_PRIVS as u64,
];

/// Modes of descriptors, what the library asks a terminal, what is asked of a tun device that was
/// handed over, and names and properties of interfaces.
const IOCTLS: [libc::Ioctl; 12] = [
    libc::FIONBIO,
    libc::FIONREAD,
    libc::FIOCLEX,
    libc::TCGETS,
    libc::TIOCGWINSZ,
    libc::TUNGETIFF,
    libc::TUNSETVNETHDRSZ,
    libc::TUNSETOFFLOAD,
    libc::SIOCGIFNAME,
    libc::SIOCGIFINDEX,
    libc::SIOCGIFFLAGS,
    libc::SIOCGIFMTU,
];

/// Sockets but those for UDP, TCP, processes of this machine, and the kernel's routing table.
fn sockets() -> io::Result<Vec<Rule>> {
    const TYPE: u64 = 0xf;
    let [unix, ip4, ip6, netlink] =
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|f| f as u64);
    let [udp, tcp] = [libc::IPPROTO_UDP, libc::IPPROTO_TCP].map(|protocol| protocol as u64);
    let raw = libc::SOCK_RAW as u64;
    let mut rules = vec![
        differs(0, &[unix, ip4, ip6, netlink])?,
        [vec![has(0, u64::from(u32::MAX), netlink)?], differs(2, &[libc::NETLINK_ROUTE as u64])?]
            .concat(),
    ];
    for family in [ip4, ip6] {
        let family = has(0, u64::from(u32::MAX), family)?;
        rules.push(vec![family.clone(), has(1, TYPE, raw)?]);
        rules.push([vec![family], differs(2, &[0, udp, tcp])?].concat());
    }
    Ok(rules)
}

/// Memory that was written may not be made executable. On 64-bit ARM the loader of libraries marks code
/// as protected against wrong branches in this way.
fn new_code() -> io::Result<Vec<Rule>> {
    let mask = if cfg!(target_arch = "x86_64") { libc::PROT_EXEC as u64 } else { WRITE_EXEC };
    Ok(vec![vec![has(2, mask, mask)?]])
}

/// The bits of `mask` in an argument are those of `value`.
fn has(argument: u8, mask: u64, value: u64) -> io::Result<SeccompCondition> {
    let operation = SeccompCmpOp::MaskedEq(mask);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)
        .map_err(io::Error::other)
}

/// An argument is none of `values`.
fn differs(argument: u8, values: &[u64]) -> io::Result<Rule> {
    let condition = |value: &u64| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, *value)
    };
    values.iter().map(condition).collect::<Result<_, _>>().map_err(io::Error::other)
}

/// What the program, the C library's threads, allocator and resolver, and the resolver's modules use.
fn known() -> BTreeMap<c_long, Vec<SeccompRule>> {
    let mut calls = always(&[
        // Descriptors.
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_pwrite64,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_fcntl,
        libc::SYS_ioctl,
        libc::SYS_lseek,
        libc::SYS_pipe2,
        libc::SYS_eventfd2,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_timerfd_create,
        libc::SYS_timerfd_settime,
        // Files; which, landlock says.
        libc::SYS_openat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_fstatfs,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getdents64,
        libc::SYS_getcwd,
        libc::SYS_unlinkat,
        // Sockets.
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_bind,
        libc::SYS_connect,
        libc::SYS_accept4,
        libc::SYS_shutdown,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
        // Memory.
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        // Threads and signals.
        libc::SYS_clone,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_rseq,
        libc::SYS_set_robust_list,
        libc::SYS_get_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_tgkill,
        libc::SYS_prctl,
        libc::SYS_sigaltstack,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_restart_syscall,
        // What time it is, who this is, what this is.
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getresuid,
        libc::SYS_getresgid,
        libc::SYS_getrusage,
        libc::SYS_prlimit64,
        libc::SYS_sysinfo,
        libc::SYS_uname,
    ]);
    // Older forms, which newer machines do not have.
    #[cfg(target_arch = "x86_64")]
    calls.extend(always(&[
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_unlink,
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_epoll_wait,
        libc::SYS_accept,
        libc::SYS_dup2,
        libc::SYS_time,
        libc::SYS_getrlimit,
        libc::SYS_arch_prctl,
    ]));
    calls
}
