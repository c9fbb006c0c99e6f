//! The one grant of a user to a client.

use aws_lc_rs::digest;

use crate::ids::{ClientId, GrantId, Id, UserId};

/// Derived from both ids, so that two grants for one pair cannot exist.
pub fn grant_id_for(user: UserId, client: ClientId) -> GrantId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"domicile grant v1");
    context.update(&user.bytes());
    context.update(&client.bytes());
    let mut id = [0_u8; 16];
    id.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    GrantId::from_bytes(id)
}
