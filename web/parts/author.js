/* Users: avatar, name and link to the profile. */

import { element } from "../dom.js";

const HUES = 6;

/** A disc with the first letter of the name, in a constant colour per user. */
export function avatar(user) {
  const letter = user?.name ? [...user.name][0].toUpperCase() : "?";
  const hue = user ? [...user.id].reduce((sum, character) => sum + character.codePointAt(0), 0) % HUES : "none";
  return element("span.avatar", { "aria-hidden": "true", dataset: { hue } }, letter);
}

/** The name of a user. Null is a deleted account; a user without a name has no copy yet. */
export function nameOf(user) {
  return user === null ? "Deleted account" : (user.name ?? "New user");
}

/** Name and username, with a link to the profile. */
export function author(user) {
  if (user === null) return element("span.author.gone", {}, nameOf(user));
  if (user.username === null) return element("span.author", {}, nameOf(user));
  return element(
    "a.author",
    { href: `/people/${user.username}` },
    element("strong", {}, nameOf(user)),
    " ",
    element("span", {}, `@${user.username}`),
  );
}

/** An item of a list of users. */
export function userCard(user) {
  return element("li.card.user", {}, avatar(user), author(user));
}
