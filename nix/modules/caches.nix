# What to tell Nix about binary caches, from the options in cache-options.nix. Home Manager and NixOS
# write it into settings of different names, so this only makes the lists.
{ lib }:
let
  # NAME:BASE64, 32 bytes: what `nixbuild keys show` and /nix-cache-info print. With a malformed key in
  # nix.conf Nix can verify nothing, not even by the other keys, so none gets there.
  isPublicKey = key: builtins.match "[^:[:space:]]+:[A-Za-z0-9+/]{43}=" key != null;

  # The cache on the host that HOST, HOST:PORT or a URL names, on the port that caches have.
  cacheUrl = address:
    let
      parts = builtins.match "(https?://)?(\\[[^]]*]|[^:/]+)(:[0-9]+)?(/.*)?" address;
      scheme = builtins.elemAt parts 0;
    in
    if parts == null then
      throw "programs.bootstrap.buildServer.address: '${address}' is neither HOST, HOST:PORT nor a URL"
    else
      "${if scheme == null then "http://" else scheme}${builtins.elemAt parts 1}:5000";

  # Caches without a usable key are left out: nothing that they send could be verified.
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
          "is '${cache.publicKey}', which is no key of the form NAME:BASE64"
        else null;
      others = map (cache: cache // { option = "the publicKey of additionalCaches"; }) cfg.additionalCaches;
      # A cache may be signed by a key that is trusted already.
      isUsable = cache: problem cache == null || (cache.mayLackKey or false && cache.publicKey == null);
      all = server ++ map (cache: cache // { mayLackKey = true; }) others;
      usable = builtins.filter isUsable all;
    in
    {
      substituters = map (cache: cache.url) usable;
      publicKeys = map (cache: cache.publicKey)
        (builtins.filter (cache: cache.publicKey != null) usable);
      warnings = map
        (cache: "${cache.option} ${problem cache}, so Nix takes nothing from ${cache.url}. "
          + "`nixbuild bootstrap` fetches the key; on the server, `nixbuild keys show` prints it.")
        (builtins.filter (cache: !isUsable cache) all);
    };

  # How a client behaves while the server is away, or has built something a moment ago.
  clientSettings = {
    connect-timeout = lib.mkDefault 5;
    fallback = lib.mkDefault true;
    narinfo-cache-negative-ttl = lib.mkDefault 0;
  };
in
{
  inherit cacheUrl caches clientSettings isPublicKey;
}
