//! The places of members, and how far the names that were read lead to them.

use super::Member;

/// Deepest place of a member, and the longest name on the way there.
pub(super) const MAX_PLACE: usize = 4;
pub(super) const MAX_NAME: usize = 32;

/// The members of a table that are looked for.
#[derive(Debug, Default)]
pub(super) struct Places {
    members: &'static [Member],
    /// A bit, at each depth, for each member whose place leads into the object there.
    live: [u32; MAX_PLACE],
    /// The same for the value that comes next.
    fits: u32,
    /// The member that the value that comes next is.
    is: Option<usize>,
}

impl Places {
    /// Looks for the members that Vault's answer holds and that `wanted` picks.
    pub(super) fn of(members: &'static [Member], wanted: impl Fn(&Member) -> bool) -> Self {
        let wanted = members.iter().enumerate().filter(|(_, member)| !member.from.is_empty() && wanted(member));
        Self { members, fits: wanted.fold(0, |bits, (index, _)| bits | 1 << index), ..Self::default() }
    }

    /// True where a name in the object at that depth may lead to a member.
    pub(super) fn lead_into(&self, depth: usize) -> bool {
        self.live.get(depth).is_some_and(|live| *live != 0)
    }

    /// An object or a list begins at that depth; members may lie in it where it is `open` to them.
    pub(super) fn enter(&mut self, depth: usize, open: bool) {
        if let Some(live) = self.live.get_mut(depth) {
            *live = if open { self.fits } else { 0 };
        }
        self.fits = 0;
    }

    /// Takes a name at that depth, `None` for one that is too long. Gives a bit for each member that it leads to, or
    /// is the last of.
    pub(super) fn named(&mut self, depth: usize, name: Option<&[u8]>) -> u32 {
        (self.fits, self.is) = (0, None);
        let (Some(name), Some(mut live)) = (name, self.live.get(depth).copied()) else { return 0 };
        let mut all = 0;
        while live != 0 {
            let (index, bit) = (live.trailing_zeros() as usize, live & live.wrapping_neg());
            live ^= bit;
            let Some(from) = self.members.get(index).map(|member| member.from) else { break };
            if from.get(depth).is_some_and(|part| part.as_bytes() == name) {
                all |= bit;
                match from.len() == depth + 1 {
                    true => self.is = Some(index),
                    false => self.fits |= bit,
                }
            }
        }
        all
    }

    /// The member that the value is which begins, and its number.
    pub(super) fn take(&mut self) -> Option<(usize, &'static Member)> {
        let index = self.is.take()?;
        Some((index, self.members.get(index)?))
    }
}
