//! Asks the program on a thread of its own: one that is slow or gone stops no key.

use std::io;
use std::sync::mpsc;

use super::board::{Answer, Documents};
use crate::console::socket::ControlSocket;
use crate::control::LinkSwitch;

/// The thread, seen from outside. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Inquirer {
    questions: mpsc::SyncSender<Question>,
    answers: mpsc::Receiver<Answer>,
}

#[derive(Debug)]
enum Question {
    News,
    Switch(String, LinkSwitch),
}

impl Inquirer {
    pub(super) fn start(socket: ControlSocket) -> io::Result<Self> {
        let (questions, asked) = mpsc::sync_channel(4);
        let (sender, answers) = mpsc::channel();
        let work = move || {
            while let Ok(question) = asked.recv() {
                if sender.send(answer(&socket, question)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("inquirer".to_owned()).spawn(work)?;
        Ok(Self { questions, answers })
    }

    /// Asks for the status; does nothing while earlier questions wait.
    pub(super) fn ask(&self) {
        let _ = self.questions.try_send(Question::News);
    }

    /// Has a link switched.
    pub(super) fn switch(&self, link: String, switch: LinkSwitch) {
        // Waits for no more than what was asked before.
        let _ = self.questions.send(Question::Switch(link, switch));
        self.ask();
    }

    /// What has been answered since.
    pub(super) fn answers(&self) -> impl Iterator<Item = Answer> {
        self.answers.try_iter()
    }
}

fn answer(socket: &ControlSocket, question: Question) -> Answer {
    match question {
        Question::News => {
            let news = || {
                let status = socket.ask_for("status")?;
                Ok::<_, anyhow::Error>(Documents { status, history: socket.ask_for("history")? })
            };
            Answer::News(Box::new(news().map_err(|error| format!("{error:#}"))))
        }
        Question::Switch(link, switch) => {
            let done = socket.switch_link(&link, switch).map_err(|error| format!("{error:#}"));
            Answer::Switched(link, done)
        }
    }
}
