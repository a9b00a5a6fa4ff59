//! The status live on a terminal: `mlvpn top`.
//!
//! | module | purpose |
//! |---|---|
//! | `board` | what is known, what is selected, and what keys mean |
//! | `view` | what of it is drawn where |
//! | `inquirer` | the thread that asks the program, so that keys are never waited for |

mod board;
mod inquirer;
mod view;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use mlvpn_io::clock::{Clock, unix_time};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::screen::Colour;
use super::socket::ControlSocket;
use board::{Board, Wish};
use inquirer::Inquirer;

/// How often the program is asked.
const PERIOD: Duration = Duration::from_secs(1);
/// How long keys are waited for before answers and signals are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Shows the program behind `socket` until its user has seen enough. The terminal is as before then, also
/// after a signal or a panic.
///
/// # Errors
/// When there is no terminal, or it fails.
pub fn run(socket: ControlSocket, colour: Colour) -> anyhow::Result<()> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        bail!("there is no terminal to draw on; `mlvpn status` prints the same once");
    }
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&is_over)).context("signals")?;
    }
    let inquirer = Inquirer::start(socket)?;
    // Also has a panic put the terminal back before it is told.
    let mut terminal = ratatui::try_init().context("cannot draw on this terminal")?;
    let shown = show(&mut terminal, &inquirer, colour, &is_over);
    ratatui::try_restore().context("cannot put the terminal back; run: reset")?;
    shown.context("the terminal failed")
}

fn show(
    terminal: &mut DefaultTerminal,
    inquirer: &Inquirer,
    colour: Colour,
    is_over: &AtomicBool,
) -> std::io::Result<()> {
    let clock = Clock::new();
    let mut board = Board::default();
    let mut next = 0;
    while !is_over.load(Ordering::Relaxed) {
        if clock.now_us() >= next && !board.is_paused() {
            inquirer.ask();
            next = clock.now_us() + PERIOD.as_micros() as u64;
        }
        inquirer.answers().for_each(|answer| board.on_answer(answer));
        let now = unix_time().as_secs_f64();
        terminal.draw(|frame| view::draw(frame, &mut board, colour, now))?;
        if !event::poll(Duration::ZERO)? {
            if is_gone(LOOK)? {
                break;
            }
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match board.on_key(key) {
            Some(Wish::End) => break,
            Some(Wish::Switch(link, switch)) => inquirer.switch(link, switch),
            None => {}
        }
    }
    Ok(())
}

/// Waits for a key, and tells whether the terminal is gone instead: crossterm would read its end for ever.
fn is_gone(wait: Duration) -> std::io::Result<bool> {
    let stdin = std::io::stdin();
    let mut terminal = [PollFd::new(&stdin, PollFlags::IN)];
    let wait = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
    match poll(&mut terminal, Some(&wait)) {
        Ok(_) => Ok(terminal[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)),
        // A signal, such as that of a new size.
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
