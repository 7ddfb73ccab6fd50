// The contract of the Tree interface, for the folder tree and every decorator.
import { rootPath } from "../../src/base/names.ts";
import { MeasuredTree } from "../../src/observe/measured-tree.ts";
import { FailoverTree } from "../../src/storage/decorators/failover-tree.ts";
import { defaultTreeLimits, LimitedTree } from "../../src/storage/decorators/limited-tree.ts";
import { MountedTree } from "../../src/storage/decorators/mounted-tree.ts";
import { OverlayTree } from "../../src/storage/decorators/overlay-tree.ts";
import { defaultRetryPolicy, RetryingTree } from "../../src/storage/decorators/retrying-tree.ts";
import { folderSubject } from "../support/folder-subject.ts";
import { silentTreeObserver } from "../support/silent.ts";
import { treeContract } from "../support/tree-contract.ts";

treeContract("a folder", () => folderSubject((tree) => tree, true));
treeContract("with retries", () => folderSubject((tree) => new RetryingTree(tree, defaultRetryPolicy)));
treeContract("with limits", () =>
  folderSubject((tree) => new LimitedTree(tree, { ...defaultTreeLimits, maxLooks: 2, maxOpens: 2 })),
);
treeContract("behind gateways", () => folderSubject((tree) => new FailoverTree([tree, tree])));
const overlay = { name: "ours", bytes: Buffer.from("ours"), linkedAtMs: 0, directory: "made" };
treeContract("with a file of ours elsewhere", () =>
  folderSubject((tree) => new OverlayTree(tree, { ...overlay, isParent: (path) => path === "elsewhere" }), true),
);
treeContract("mounted", () => folderSubject((tree) => new MountedTree([{ at: rootPath, tree }])));
treeContract("measured", () => folderSubject((tree) => new MeasuredTree(tree, silentTreeObserver, Date.now), true));
treeContract("with everything", () =>
  folderSubject((tree) => new RetryingTree(new LimitedTree(new FailoverTree([tree, tree])))),
);
