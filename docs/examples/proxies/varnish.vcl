# Varnish with a cache on disk, behind hitch, which does TLS (hitch.conf). On Debian: /etc/varnish/tahoe-apt.vcl, and
# varnish-service.conf. tahoe-apt needs behind_proxy = true. Each rule is explained in guide-proxies.md.
vcl 4.1;

backend tahoe_apt {
  .host = "127.0.0.1";
  .port = "8380";
  .connect_timeout = 5s;
  # The response to a ping takes up to max_wait_seconds, 300.
  .first_byte_timeout = 330s;
  .between_bytes_timeout = 120s;
}

sub vcl_recv {
  # All requests come from hitch, which passes the client's address on. Varnish has appended it to X-Forwarded-For.
  set req.http.X-Forwarded-Proto = "https";
  # Prometheus asks tahoe-apt itself.
  if (req.url ~ "^/metrics($|\?)") {
    return (synth(403));
  }
  # Only names that contain a hash are cached. Everything else is neither cached nor changed: InRelease, plain names,
  # pages, keys, pings. So a publication is visible at once, and tahoe-apt gives each mirror files that belong together.
  # The rest of a package that was cut off is requested from tahoe-apt, not waited for. A request with a password
  # neither uses nor fills the cache.
  if (req.method != "GET" || req.url !~ "/(by-hash|pool)/" || req.http.Range || req.http.Authorization) {
    return (pass);
  }
}

# What follows this in Varnish's own VCL keeps no response that tahoe-apt marks as private or as not to be stored.
sub vcl_backend_response {
  if (bereq.url ~ "/pool/") {
    set beresp.storage = storage.packages;
  }
}

sub vcl_backend_error {
  set beresp.http.Retry-After = "5";
}
