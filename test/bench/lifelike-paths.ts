// How many files a package has, and what they are called: as in Debian, so that Contents cost what they cost there.

/**
 * Of Debian bookworm's main, amd64 and all (63,437 packages, 7,362,379 files): the part of all packages that have at
 * most so many files. The last 0.1 % have up to 116,010; here it ends before.
 */
const filesByPart: readonly (readonly [part: number, files: number])[] = [
  [0, 1],
  [0.01, 1],
  [0.05, 3],
  [0.1, 4],
  [0.2, 5],
  [0.3, 7],
  [0.4, 9],
  [0.5, 11],
  [0.6, 17],
  [0.7, 27],
  [0.8, 49],
  [0.9, 124],
  [0.95, 300],
  [0.98, 851],
  [0.99, 1778],
  [0.995, 2954],
  [0.999, 10_796],
  [1, 11_000],
];

const goldenRatio = 0.618_033_988_749_894_9;

/** Any run of numbers comes near the whole distribution. Between two of its points counts grow by factors. */
export function fileCountOf(number: number): number {
  const part = ((number + 0.5) * goldenRatio) % 1;
  const above = filesByPart.findIndex(([upTo]) => upTo > part);
  const [[fromPart, from] = [0, 1], [toPart, to] = [1, 1]] = filesByPart.slice(above - 1, above + 1);
  return Math.round(from * (to / from) ** ((part - fromPart) / (toPart - fromPart)));
}

/** Numbers from 0 to below 1 that look random: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const words = `abstract action adapter admin archive array async backend base binary block browser buffer build button
  cache channel chart class client codec color column command common compat config connection container context control
  core cursor data database date debug decoder default device dialog digest dist document driver editor element engine
  entry error event example export factory feature field file filter folder font format frame function generic global
  graph group handler header helper history home http icon image import index info inline input instance interface
  internal item iterator job kernel key label language layout level library line link list loader local locale log main
  map matrix media member memory menu message method model module monitor mount network node notes object observer open
  option output package page panel parser path pattern plugin point policy port process profile protocol proxy queue
  reader record reference region registry release render report request resource response result role root route rule
  runtime sample scanner schema scope screen script search section select server service session setting shape shell
  source stack state static status storage stream string style support symbol system table target task template test
  text theme thread timer token tool trace transport tree type update user utility value vector version view widget
  window worker wrapper writer zone`.split(/\s+/);

/** Where packages have their many files, each with its part of all files, in hundredths, and how these are called. */
type Tree = readonly [parts: number, directory: (name: string) => string, suffixes: string];
const first: Tree = [24, (name) => `usr/share/${name}`, ".txt .xml .dat .gz .so"];
const trees: readonly Tree[] = [
  first,
  [22, (name) => `usr/share/doc/${name}/html`, ".html .html .html .png .js"],
  [10, (name) => `usr/share/doc/${name}/examples`, ".txt .gz .py"],
  [8, () => "usr/share/icons/hicolor/48x48/apps", ".png .svg"],
  [7, (name) => `usr/lib/python3/dist-packages/${name.replaceAll("-", "_")}`, ".py"],
  [5, (name) => `usr/share/games/${name}/data`, ".png .ogg .xml"],
  [4, () => "usr/share/man/man3", ".3.gz"],
  [4, (name) => `usr/lib/x86_64-linux-gnu/${name}`, ".so .o .a"],
  [3, () => "usr/share/texlive/texmf-dist/tex/latex", ".sty .tfm"],
  [3, (name) => `usr/share/gocode/src/github.com/${name}`, ".go"],
  [3, (name) => `usr/share/help/de/${name}/figures`, ".page .png"],
  [4, (name) => `usr/include/${name}`, ".h .hpp"],
  [3, (name) => `usr/share/nodejs/${name}/node_modules`, ".js .json"],
];

/** The paths of a package, without leading slashes: each once, in no order. */
export function pathsOf(number: number, name: string): readonly string[] {
  const random = randomOf(number);
  const word = () => words[Math.floor(random() * words.length)] ?? "";
  /** Fewer oftener than more. */
  const someWords = (usual: number, most: number) =>
    Array.from({ length: Math.min(most, 1 + Math.floor(-usual * Math.log(1 - random()))) }, word);
  const count = fileCountOf(number);
  const few = [
    `usr/share/doc/${name}/copyright`,
    `usr/share/doc/${name}/changelog.Debian.gz`,
    number % 3 === 0 ? `usr/lib/x86_64-linux-gnu/lib${name}.so.1` : `usr/bin/${name}`,
    number % 3 === 0 ? `usr/lib/x86_64-linux-gnu/lib${name}.so.1.0.${number % 10}` : `usr/share/man/man1/${name}.1.gz`,
  ];
  const paths = new Set(few.slice(0, count));
  const [, main, suffixes] = treeAt(random());
  let directory = main(name);
  while (paths.size < count) {
    if (random() < 0.12) directory = [main(name), ...someWords(1.2, 9)].join("/");
    const [suffix] = suffixes.split(" ").slice(Math.floor(random() * suffixes.split(" ").length));
    const parts = someWords(1.8, 9);
    paths.add(`${directory}/${parts.join("_")}${suffix}`);
  }
  return [...paths];
}

function treeAt(part: number): Tree {
  let left = part * trees.reduce((sum, [parts]) => sum + parts, 0);
  for (const tree of trees) {
    left -= tree[0];
    if (left < 0) return tree;
  }
  return first;
}
