// The programs that ours is measured against or with, and the Debian packages that bring them.

export interface Tool {
  readonly program: string;
  readonly debianPackage: string;
}

export const tools = {
  reprepro: { program: "reprepro", debianPackage: "reprepro" },
  aptly: { program: "aptly", debianPackage: "aptly" },
  aptFtparchive: { program: "apt-ftparchive", debianPackage: "apt-utils" },
  dpkgScanpackages: { program: "dpkg-scanpackages", debianPackage: "dpkg-dev" },
  nginx: { program: "nginx", debianPackage: "nginx-light" },
  haproxy: { program: "haproxy", debianPackage: "haproxy" },
  wrk: { program: "wrk", debianPackage: "wrk" },
  gzip: { program: "gzip", debianPackage: "gzip" },
  xz: { program: "xz", debianPackage: "xz-utils" },
} as const satisfies Readonly<Record<string, Tool>>;
