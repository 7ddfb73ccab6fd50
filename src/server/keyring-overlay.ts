// Adds the generated archive-keyring package of a repository to its tree.
import type { RepositoryConfiguration } from "../config/configuration.ts";
import { archiveKeyring } from "../publishing/build/archive-keyring.ts";
import type { Signer } from "../signing/signer.ts";
import { OverlayTree } from "../storage/decorators/overlay-tree.ts";
import type { Tree } from "../storage/tree.ts";

/** @returns the tree with the package; the tree itself if `archive_keyring` is not configured */
export function withArchiveKeyring(
  tree: Tree,
  { name, label, archiveKeyring: component, suites }: RepositoryConfiguration,
  { signer, publicUrl }: { readonly signer: Signer; readonly publicUrl: string | undefined },
): Tree {
  if (component === undefined) return tree;
  const uri = publicUrl && `${publicUrl}/${name}`;
  const order = { repository: name, label, signer, component, uri, suites: [...suites.keys()] };
  return new OverlayTree(tree, archiveKeyring(order));
}
