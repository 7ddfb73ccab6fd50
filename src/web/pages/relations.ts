// Shows relations between packages, as links where the repository has what they name.
import type { RelationAlternative, RelationField } from "../data/repository-data.ts";
import { escapeHtml } from "../html/escape.ts";
import type { Links } from "../html/links.ts";

/** Shows the groups of one field as a list of links. */
export function relationsHtml(links: Links, groups: RelationField["groups"]): string {
  const items = groups.map((group) => {
    const alternatives = group.map((alternative) => alternativeHtml(links, alternative));
    return `<li>${alternatives.join(" or ")}</li>`;
  });
  return `<ul class="plain">${items.join("")}</ul>`;
}

function alternativeHtml(links: Links, one: RelationAlternative): string {
  const { name, qualifier, restriction, resolved, providers } = one;
  const text = escapeHtml(qualifier === undefined ? name : `${name}:${qualifier}`);
  const rest = restriction === "" ? "" : ` <span class="quiet">${escapeHtml(restriction)}</span>`;
  switch (resolved) {
    case "package":
    case "elsewhere": {
      const where = resolved === "elsewhere" ? ' <span class="tag">another suite</span>' : "";
      return `<a href="${escapeHtml(links.package(name))}">${text}</a>${rest}${where}`;
    }
    case "provided": {
      const by = providers.map(
        (provider) => `<a href="${escapeHtml(links.package(provider))}">${escapeHtml(provider)}</a>`,
      );
      return `${text}${rest} <span class="quiet">provided by ${by.join(", ")}</span>`;
    }
    case "unknown":
      return `${text}${rest}`;
    default:
      return resolved satisfies never;
  }
}
