// The Python packages of a grid, pinned to versions that were tested together.

/** The direct requirements; all other packages are their dependencies. */
export const requirements = [
  "tahoe-lafs==1.20.0",
  // Tahoe's web gateway imports a module that Python 3.13 has removed, but does not depend on its successor.
  "legacy-cgi==2.6.4; python_version >= '3.13'",
] as const;

/**
 * The Python versions for which the pins are valid. For other versions pip selects the packages, because some pinned
 * versions do not support them.
 * @see PEP 508, environment markers
 */
const tested = "python_version >= '3.11' and python_version < '3.14'";

const pins = [
  "appdirs==1.4.4",
  "attrs==26.1.0",
  "autobahn==26.10.2",
  "Automat==25.4.16",
  "bcrypt==5.0.0",
  "boltons==26.2.0",
  "cbor2==6.3.0",
  "cffi==2.1.1",
  "click==8.5.1",
  "collections-extended==2.0.2",
  "constantly==23.10.4",
  "cryptography==50.0.2",
  "distro==1.9.0",
  "eliot==1.18.0",
  "filelock==4.2.11",
  "foolscap==24.9.0",
  "future==1.0.0",
  "humanize==4.17.0",
  "hyperlink==21.0.0",
  "idna==3.20",
  "Incremental==24.11.0",
  "iterable-io==1.0.4",
  "klein==24.8.0",
  "magic-wormhole==0.24.0",
  "MarkupSafe==3.0.4",
  "msgpack==1.2.4",
  "multipart==2.0.1",
  "orjson==3.13.0",
  "packaging==26.3",
  "psutil==7.2.2",
  "pycddl==0.6.4",
  "pycparser==3.12",
  "PyNaCl==1.6.2",
  "pyOpenSSL==26.4.0",
  "pyrsistent==0.20.0",
  "pyutil==3.4.1",
  "PyYAML==6.0.3",
  "qrcode==8.2",
  "service-identity==26.1.0",
  "simplejson==4.3.0",
  "six==1.17.0",
  "spake2==0.9",
  "tqdm==4.70.1",
  "treq==26.7.0",
  "Tubes==0.2.1",
  "Twisted==26.10.0",
  "txaio==26.6.1",
  "txtorcon==26.6.0",
  "typing_extensions==4.16.0",
  "ujson==6.1.0",
  "Werkzeug==3.1.9",
  "zfec==1.6.0.0",
  "zipstream-ng==1.9.3",
  "zope.interface==8.7",
] as const;

/** A pip constraints file. It does not pin netifaces, because Debian's version may be the only available one. */
export const constraints = pins.map((pin) => `${pin}; ${tested}\n`).join("");
