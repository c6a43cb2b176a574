# Nix's settings for binary caches, from the options in cache-options.nix. Home Manager and NixOS use
# settings with different names, so this only makes the lists.
{ lib }:
let
  # NAME:BASE64, 32 bytes, as `nixbuild keys show` and /nix-cache-info print it. A malformed key in
  # nix.conf keeps Nix from verifying anything, even with the other keys, so it is left out.
  isPublicKey = key: builtins.match "[^:[:space:]]+:[A-Za-z0-9+/]{43}=" key != null;

  # The cache's URL: port 5000 on the host of HOST, HOST:PORT or a URL.
  cacheUrl = address:
    let
      parts = builtins.match "(https?://)?(\\[[^]]*]|[^:/]+)(:[0-9]+)?(/.*)?" address;
      scheme = builtins.elemAt parts 0;
    in
    if parts == null then
      throw "programs.bootstrap.buildServer.address: '${address}' is not HOST, HOST:PORT or a URL"
    else
      "${if scheme == null then "http://" else scheme}${builtins.elemAt parts 1}:5000";

  # Where `serve-proxy` listens by default.
  proxyUrl = "http://127.0.0.1:5001";

  # Caches without a usable key are left out, as Nix could not verify what they send.
  caches = cfg:
    let
      server = lib.optional cfg.buildServer.enable {
        option = "programs.bootstrap.buildServer.publicKey";
        url = cfg.buildServer.cacheUrl;
        inherit (cfg.buildServer) publicKey;
      };
      problem = cache:
        if cache.publicKey == null then "is not set"
        else if !isPublicKey cache.publicKey then
          "is '${cache.publicKey}', which is not a key of the form NAME:BASE64"
        else null;
      others = map (cache: cache // { option = "the publicKey of additionalCaches"; }) cfg.additionalCaches;
      # An additional cache may use a key that Nix trusts already.
      isUsable = cache: problem cache == null || (cache.mayLackKey or false && cache.publicKey == null);
      all = server ++ map (cache: cache // { mayLackKey = true; }) others;
      usable = builtins.filter isUsable all;
    in
    rec {
      # Of these the proxy asks; or Nix itself, without a proxy.
      upstreams = map (cache: cache.url) usable;
      substituters =
        if cfg.buildServer.proxy.enable && upstreams != [ ] then [ proxyUrl ] else upstreams;
      publicKeys = map (cache: cache.publicKey)
        (builtins.filter (cache: cache.publicKey != null) usable);
      warnings = map
        (cache: "${cache.option} ${problem cache}, so Nix does not use ${cache.url}. "
          + "`nixbuild bootstrap` fetches the key; on the server, `nixbuild keys show` prints it.")
        (builtins.filter (cache: !isUsable cache) all);
    };

  # The keys that build records must be signed with: the server's alone, never another cache's.
  recordKeys = cfg:
    let key = cfg.buildServer.publicKey; in
    lib.optional (key != null && isPublicKey key) key;

  # A peer serves what the server has signed, so it has to know the server's key.
  peerWarnings = cfg: lib.optional (cfg.buildServer.peer.enable && recordKeys cfg == [ ])
    ("programs.bootstrap.buildServer.peer.enable has no effect without "
      + "programs.bootstrap.buildServer.publicKey, as a peer serves only what that key has signed.");

  # For a server that may be unreachable, or has built something a moment ago.
  clientSettings = {
    connect-timeout = lib.mkDefault 5;
    fallback = lib.mkDefault true;
    narinfo-cache-negative-ttl = lib.mkDefault 0;
  };
in
{
  inherit cacheUrl caches clientSettings isPublicKey peerWarnings recordKeys;
}
