//! A new configuration in the place of the one in effect.

use tracing::{info, warn};

use super::super::data::Command;
use super::super::plan::{self, LinkChanges};
use super::{Worker, random_seed};
use crate::config::Config;

impl Worker {
    /// Brings a new configuration into effect, touching nothing that it does not change.
    pub(super) fn reload(&mut self, mut new: Config) -> anyhow::Result<()> {
        // What was switched by hand stays so.
        self.switches.retain_links_of(&new);
        self.switches.apply(&mut new);
        let restart = plan::needs_restart(&self.config, &new);
        if !restart.is_empty() {
            warn!(keys = restart.join(", "), "these keys take effect at the next start");
        }
        let changes = LinkChanges::between(&self.config, &new);
        let replaces = plan::needs_new_session(&self.config, &new);
        self.config = plan::keep_fixed(&self.config, new);
        self.data.send(Command::SetReorder(plan::reorder_policy(&self.config)));
        if replaces {
            self.replace_session()?;
        } else {
            self.change_links(&changes);
        }
        self.data.send(Command::SetFilters(plan::filters(&self.config)));
        self.data.send(Command::SetPolicy(self.config.general.policy));
        self.apply_mtu();
        self.board.on_reload(&self.config);
        self.update_title();
        info!(
            added = changes.added.join(" "),
            removed = changes.removed.join(" "),
            reattached = changes.reattached.join(" "),
            retuned = changes.retuned.join(" "),
            new_session = replaces,
            "configuration reloaded"
        );
        Ok(())
    }

    fn change_links(&mut self, changes: &LinkChanges) {
        for name in &changes.removed {
            self.links.remove(name);
            self.mtu.forget(name);
            self.data.send(Command::Remove { link: name.clone() });
        }
        for link in self.config.links.clone() {
            if changes.added.contains(&link.name) {
                self.add_link(link);
            } else if let Some(control) = self.links.get_mut(&link.name) {
                let name = link.name.clone();
                control.config = link;
                if changes.retuned.contains(&name) {
                    let retuned = plan::link_config(&control.config, None);
                    self.data.send(Command::Retune(retuned));
                } else if changes.reattached.contains(&name) {
                    control.on_detached();
                    self.data.send(Command::Renew(plan::link_config(&control.config, None)));
                    self.resolve(&name);
                }
            }
        }
    }

    /// Everything on the wire changes: begin anew with the same tunnel interface.
    fn replace_session(&mut self) -> anyhow::Result<()> {
        self.mtu.forget_measured();
        let endpoint = plan::endpoint_config(&self.config, self.current_mtu);
        self.data.send(Command::Replace(Box::new(endpoint), random_seed()?));
        self.links.clear();
        for link in self.config.links.clone() {
            self.add_link(link);
        }
        Ok(())
    }
}
