/* People, as they are shown beside what they write. */

import { element } from "../dom.js";

const HUES = 6;

/** A disc with the first letter of a name, in a colour that stays the person's. */
export function avatar(person) {
  const letter = person?.name ? [...person.name][0].toUpperCase() : "?";
  const hue = person ? [...person.id].reduce((sum, character) => sum + character.codePointAt(0), 0) % HUES : "none";
  return element("span.avatar", { "aria-hidden": "true", dataset: { hue } }, letter);
}

/** What somebody is called. Null has deleted the account, and who has no name yet has just opened it. */
export function nameOf(person) {
  return person === null ? "Deleted account" : (person.name ?? "Somebody new");
}

/** Somebody's name and username. */
export function author(person) {
  if (person === null) return element("span.author.gone", {}, nameOf(person));
  if (person.username === null) return element("span.author", {}, nameOf(person));
  return element(
    "a.author",
    { href: `/people/${person.username}` },
    element("strong", {}, nameOf(person)),
    " ",
    element("span", {}, `@${person.username}`),
  );
}

/** One of a list of people. */
export function personCard(person) {
  return element("li.card.person", {}, avatar(person), author(person));
}
