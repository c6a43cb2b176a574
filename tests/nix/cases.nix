# What the modules make of configurations: { NAME = { got, want }; }, with any lib and any evaluators
# of Home Manager and NixOS configurations. The stand-ins beside this file will do.
{ lib, pkgs, homeWith, nixos }:
let
  home = homeWith { };
  modules = ../../nix/modules;
  profile = name: import (modules + "/as-profile.nix") name;
  default = modules + "/default.nix";
  full = modules + "/full.nix";
  client = modules + "/nixos/client.nix";
  buildServer = modules + "/nixos/build-server.nix";

  fails = value: !(builtins.tryEval (builtins.deepSeq value true)).success;
  mentions = text: builtins.any (warning: builtins.match ".*${text}.*" warning != null);
  namesOf = map (package: package.pname or package.name);
  key = "build-server-1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
  ids = {
    laptop = "AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA-AAAAAAA";
    desktop = "BBBBBBB-BBBBBBB-BBBBBBB-BBBBBBB-BBBBBBB-BBBBBBB-BBBBBBB-BBBBBBB";
    server = "CCCCCCC-CCCCCCC-CCCCCCC-CCCCCCC-CCCCCCC-CCCCCCC-CCCCCCC-CCCCCCC";
  };
  flakes = [ "nix-command" "flakes" ];
  onlyFlakes = { extra-experimental-features = flakes; };
  folder = folder: { inherit (folder) path devices; };
  foldersOf = config: lib.mapAttrs (_: folder) config.services.syncthing.settings.folders;
  devicesOf = config: builtins.attrNames config.services.syncthing.settings.devices;

  # services.bootstrap-services.syncthing, enabled, with `settings`.
  syncthing = settings: {
    services.bootstrap-services.syncthing = { enable = true; devices = lib.mkDefault ids; } // settings;
  };
  bootstrap = settings: { programs.bootstrap = { enable = true; } // settings; };

  laptop = home [ (profile "laptop") (bootstrap { }) (syncthing { }) ];
  desktop = home [ (profile "desktop") (bootstrap { }) (syncthing { }) ];
  server = home [ (profile "server") (modules + "/full.nix") ];

  # The two modules that the page on the architecture shows for one machine.
  override = home [
    default
    (syncthing {
      self = "laptop";
      folders = {
        photos = {
          path = "/mnt/external/photos";
          devices = [ "desktop" ];
        };
        documents.path = "/custom/docs";
      };
    })
  ];
  base = {
    services.bootstrap-services.syncthing = {
      enable = true;
      defaultFolders.documents = { path = "~/Documents"; devices = [ "laptop" "desktop" ]; };
    };
  };
  machine = name: settings: home [ default base (syncthing ({ self = name; } // settings)) ];

  client' = home [
    default
    (bootstrap {
      buildServer = { enable = true; address = "build-server"; publicKey = key; };
      atuin = { enable = true; syncServer = "https://atuin.example"; };
      aliases.gs = "git status";
      additionalCaches = [ "http://other-cache:5000" { url = "http://third"; publicKey = key; } ];
    })
  ];
  unkeyed = publicKey: home [ default (bootstrap { buildServer = { enable = true; inherit publicKey; }; }) ];
  addressed = address: (home [ default (bootstrap { buildServer = { inherit address; }; }) ]).programs.bootstrap.buildServer.cacheUrl;
  withKey = settings: home [ default { services.bootstrap-services.tailscale = settings; } ];

  nixosClient = nixos [
    client
    (bootstrap { buildServer = { enable = true; publicKey = key; }; })
    { services.bootstrap-services.tailscale.authKeyFile = "/etc/secrets/tailscale"; }
  ];
  nixosServer = nixos [ buildServer { services.nixbuild.enable = true; } ];
  fullServer = nixos [
    buildServer
    client
    (bootstrap { buildServer = { enable = true; publicKey = key; }; })
    {
      services.nixbuild = {
        enable = true;
        secretKeyFile = "/run/secrets/cache-key";
        tokenFile = "/run/secrets/token";
        credentials.nix-terminal = { sshKeyFile = "/run/secrets/deploy-key"; accessTokensFile = "/run/secrets/tokens"; };
        remoteBuilders = [{ hostName = "mac"; systems = [ "aarch64-darwin" ]; }];
        emulatedSystems = [ "aarch64-linux" ];
        settings.repository = [{ name = "nix-terminal"; url = "https://example.org/nix-terminal"; }];
      };
      services.bootstrap-services.tailscale.enable = false;
    }
  ];
  wsl = { lib, ... }: { options.wsl.interop.register = lib.mkOption { type = lib.types.bool; default = false; }; };
  onWsl = emulatedSystems: nixos [ buildServer wsl { services.nixbuild = { enable = true; inherit emulatedSystems; }; } ];
in
{
  # Profiles.
  "laptop: folders" = {
    got = builtins.attrNames (foldersOf laptop);
    want = [ "code" "documents" "dotfiles" ];
  };
  "laptop: is not among its folders' devices" = {
    got = { inherit (foldersOf laptop) documents dotfiles; devices = devicesOf laptop; };
    want = {
      documents = { path = "/home/me/Documents"; devices = [ "desktop" ]; };
      dotfiles = { path = "/home/me/.config"; devices = [ "desktop" "server" ]; };
      devices = [ "desktop" "server" ];
    };
  };
  "laptop: low power" = {
    got = {
      inherit (laptop.nix.settings) max-jobs;
      inherit (laptop.services.syncthing.settings.folders.code) rescanIntervalS;
    };
    want = { max-jobs = 1; rescanIntervalS = 3600; };
  };
  "laptop: services" = {
    got = { syncthing = laptop.services.syncthing.enable; tailscale = laptop.services.bootstrap-services.tailscale.enable; };
    want = { syncthing = true; tailscale = true; };
  };
  "low power may be overridden for a folder" = {
    got = (home [ (profile "laptop") (syncthing { folders.code.rescanIntervalS = 60; }) ]).services.syncthing.settings.folders.code.rescanIntervalS;
    want = 60;
  };
  "desktop: folders and power" = {
    got = { folders = builtins.attrNames (foldersOf desktop); inherit (desktop.nix.settings) max-jobs; };
    want = { folders = [ "documents" "music" "photos" "videos" ]; max-jobs = "auto"; };
  };
  "server: no Syncthing, nothing graphical" = {
    got = {
      syncthing = server.services.syncthing.enable;
      tray = server.services.syncthing.tray.enable;
      dconf = server.dconf.enable;
      clipboard = builtins.any (name: builtins.elem name [ "wl-clipboard" "xclip" ]) (namesOf server.home.packages);
    };
    want = { syncthing = false; tray = false; dconf = false; clipboard = false; };
  };
  "a profile's values may be overridden" = {
    got = let config = home [ (profile "laptop") { programs.bootstrap.profile = { lowPowerMode = false; services = [ ]; syncthingFolders = [ "music" ]; }; } (syncthing { }) ]; in
      { folders = builtins.attrNames (foldersOf config); nix = config.nix.settings; tailscale = config.services.bootstrap-services.tailscale.enable; };
    want = { folders = [ "music" ]; nix = { }; tailscale = false; };
  };
  "both modes at once are refused" = {
    got = fails (home [ (profile "laptop") (profile "desktop") ]).home.username;
    want = true;
  };
  "a folder that nothing describes is refused" = {
    got = fails (home [ default { programs.bootstrap.profile.syncthingFolders = [ "nonesuch" ]; } (syncthing { }) ]).home.username;
    want = true;
  };

  # Folders.
  "one attribute replaces one attribute" = {
    got = foldersOf override;
    want = {
      documents = { path = "/custom/docs"; devices = [ "desktop" ]; };
      dotfiles = { path = "/home/me/.config"; devices = [ "desktop" "server" ]; };
      photos = { path = "/mnt/external/photos"; devices = [ "desktop" ]; };
    };
  };
  "a default folder for every name that a profile uses" = {
    got = builtins.attrNames override.services.bootstrap-services.syncthing.defaultFolders;
    want = [ "backups" "code" "documents" "dotfiles" "music" "photos" "videos" ];
  };
  "a configuration's own default folders: laptop" = {
    got = foldersOf (machine "laptop" { });
    want = { documents = { path = "~/Documents"; devices = [ "desktop" ]; }; };
  };
  "a configuration's own default folders: desktop" = {
    got = foldersOf (machine "desktop" {
      folders = {
        photos = { path = "/mnt/photos"; devices = [ "laptop" ]; };
        documents.path = "/custom/docs";
      };
    });
    want = {
      documents = { path = "/custom/docs"; devices = [ "laptop" ]; };
      photos = { path = "/mnt/photos"; devices = [ "laptop" ]; };
    };
  };
  "folders of several modules are merged" = {
    got = (foldersOf (home [ default (syncthing { folders.documents.path = "/a"; }) { services.bootstrap-services.syncthing.folders.documents.devices = [ "server" ]; } ])).documents;
    want = { path = "/a"; devices = [ "server" ]; };
  };
  "a device without an ID is left out, with a warning" = {
    got = let config = home [ (profile "laptop") (syncthing { devices = { inherit (ids) desktop; server = null; }; }) ]; in {
      inherit (foldersOf config) dotfiles;
      warns = mentions "'server'.*dotfiles" config.warnings;
      others = mentions "'desktop'" config.warnings || mentions "'laptop'" config.warnings;
    };
    want = { dotfiles = { path = "/home/me/.config"; devices = [ "desktop" ]; }; warns = true; others = false; };
  };
  "a machine is known by its own ID, too" = {
    got = devicesOf (home [ default (syncthing { deviceId = ids.server; }) ]);
    want = [ "desktop" "laptop" ];
  };
  "a device may have settings" = {
    got = (foldersOf (home [ default (syncthing { folders.documents.devices = [{ name = "server"; encryptionPasswordFile = "/p"; } "laptop"]; self = "laptop"; }) ])).documents.devices;
    want = [{ name = "server"; encryptionPasswordFile = "/p"; }];
  };
  "all is well: no warning" = { got = laptop.warnings; want = [ ]; };
  "an ID that is none: a warning" = {
    got = mentions "'nonsense'" (home [ default (syncthing { devices = ids // { desktop = "nonsense"; }; }) ]).warnings;
    want = true;
  };

  # The build server.
  "client: what Nix is told" = {
    got = client'.nix.settings;
    want = {
      connect-timeout = 5;
      fallback = true;
      narinfo-cache-negative-ttl = 0;
      extra-experimental-features = flakes;
      extra-substituters = [ "http://build-server:5000" "http://other-cache:5000" "http://third" ];
      extra-trusted-public-keys = [ key key ];
    };
  };
  "client: a proxy in the place of the caches" = {
    got =
      let
        proxied = osConfig: home [
          default
          (bootstrap {
            buildServer = { enable = true; publicKey = key; proxy.enable = true; };
            additionalCaches = [ "http://other-cache:5000" ];
          })
          { _module.args.osConfig = lib.mkForce osConfig; }
        ];
        alone = proxied null;
      in
      {
        inherit (alone.nix.settings) extra-substituters extra-trusted-public-keys narinfo-cache-negative-ttl;
        inherit (alone.programs.bootstrap.settings.proxy) upstream;
        services = builtins.attrNames alone.systemd.user.services;
        sockets = alone.systemd.user.sockets.nixbuild-proxy.Socket.ListenStream;
        unkeyed = (home [ default (bootstrap { buildServer = { enable = true; proxy.enable = true; }; }) ]).systemd.user.services;
        onNixos = (proxied { programs.bootstrap.buildServer.proxy.enable = true; }).systemd.user.services;
      };
    want = {
      extra-substituters = [ "http://127.0.0.1:5001" ];
      extra-trusted-public-keys = [ key ];
      narinfo-cache-negative-ttl = 0;
      upstream = [ "http://build-server:5000" "http://other-cache:5000" ];
      services = [ "nixbuild-proxy" ];
      sockets = [ "127.0.0.1:5001" "[::1]:5001" ];
      unkeyed = { };
      onNixos = { };
    };
  };
  "client: a peer of other machines" = {
    got =
      let
        peer = publicKey: osConfig: home [
          default
          (bootstrap { buildServer = { enable = true; inherit publicKey; peer.enable = true; }; })
          { _module.args.osConfig = lib.mkForce osConfig; }
        ];
        alone = peer key null;
      in
      {
        services = builtins.attrNames alone.systemd.user.services;
        command = builtins.match ".*/bin/nixbuild (.*)" alone.systemd.user.services.nixbuild-peer.Service.ExecStart;
        inherit (alone.programs.bootstrap.settings.client) record_keys;
        unkeyed = (peer null null).systemd.user.services;
        unkeyedWarns = mentions "peer.enable has no effect" (peer null null).warnings;
        onNixos = (peer key { programs.bootstrap.buildServer.peer.enable = true; }).systemd.user.services;
      };
    want = {
      services = [ "nixbuild-peer" ];
      command = [ "serve-cache --only-signed-by record_keys --nar-cache-size 2G" ];
      record_keys = [ key ];
      unkeyed = { };
      unkeyedWarns = true;
      onNixos = { };
    };
  };
  "client: which machines have a proxy" = {
    got =
      let
        withServer = { programs.bootstrap.buildServer = { enable = true; publicKey = key; }; };
        isProxied = modules: (home ([ (bootstrap { }) withServer ] ++ modules)).nix.settings.extra-substituters == [ "http://127.0.0.1:5001" ];
      in
      {
        laptop = isProxied [ (profile "laptop") ];
        desktop = isProxied [ (profile "desktop") ];
        server = isProxied [ (profile "server") ];
        none = isProxied [ default ];
        off = isProxied [ (profile "laptop") { programs.bootstrap.buildServer.proxy.enable = false; } ];
      };
    want = { laptop = true; desktop = true; server = false; none = false; off = false; };
  };
  "client: aliases" = {
    got = client'.home.shellAliases // { inherit (client'.programs.bootstrap.settings.aliases) extra; };
    want = {
      bt = "nixbuild trigger";
      bs = "nixbuild status";
      bl = "nixbuild logs";
      rebuild = "nixbuild system-update --no-update --no-gc";
      system-update = "nixbuild system-update";
      gs = "git status";
      extra = [ "gs=git status" ];
    };
  };
  "client: aliases that not every shell takes stay with Home Manager" = {
    got =
      let
        config = home [
          default
          (bootstrap { aliases = { ".." = "cd .."; "a b" = "c"; lines = "a\nb"; tab = "a\tb"; blank = " "; "g.s-1" = "git status -s"; "if" = "x"; }; })
        ];
      in
      {
        inherit (config.programs.bootstrap.settings.aliases) extra;
        shells = builtins.attrNames (removeAttrs config.home.shellAliases [ "bt" "bs" "bl" "rebuild" "system-update" ]);
      };
    want = {
      extra = [ "g.s-1=git status -s" ];
      shells = [ ".." "a b" "blank" "g.s-1" "if" "lines" "tab" ];
    };
  };
  "client: Atuin" = {
    got = client'.programs.atuin.settings;
    want = {
      auto_sync = true;
      sync_address = "https://atuin.example";
      sync_frequency = "5m";
      search_mode = "fuzzy";
      filter_mode_shell_up_key_binding = "directory";
      style = "compact";
      inline_height = 20;
      history_filter = [ "^secret" "^password" ];
      dotfiles.enabled = true;
    };
  };
  "client: shells load the aliases that Atuin syncs" = {
    got =
      let
        of = config: {
          bash = config.programs.bash.initExtra;
          zsh = config.programs.zsh.initContent;
          fish = config.programs.fish.interactiveShellInit;
        };
        load = "/bin/nixbuild aliases --shell";
        ends = lines: builtins.mapAttrs (shell: line: mentions "${load} ${shell} --from-atuin" [ line ]) lines;
      in
      {
        on = ends (of client');
        without = of (home [ default (bootstrap { }) ]);
        alone = of (home [ (modules + "/terminal.nix") ]);
      };
    want =
      let none = { bash = ""; zsh = ""; fish = ""; }; in
      { on = { bash = true; zsh = true; fish = true; }; without = none; alone = none; };
  };
  "client: bash has the aliases, too" = {
    got = {
      inherit (client'.programs.bash) enable;
      off = (home [ default (bootstrap { }) { programs.bash.enable = false; } ]).programs.bash.enable;
      alone = (home [ (modules + "/build-client.nix") (bootstrap { }) ]).programs.bash.enable;
    };
    want = { enable = true; off = false; alone = false; };
  };
  "client: commands and configuration" = {
    got = {
      package = builtins.elem "nixbuild" (namesOf client'.home.packages);
      inherit (client'.programs.bootstrap.settings.client) server record_keys;
      file = client'.xdg.configFile ? "nixbuild/config.toml";
    };
    want = { package = true; server = "build-server"; record_keys = [ key ]; file = true; };
  };
  "nothing is on by itself, but Tailscale's command" = {
    got = let config = home [ default ]; in {
      nix = config.nix.settings;
      aliases = config.home.shellAliases;
      packages = builtins.filter (name: builtins.elem name [ "nixbuild" "tailscale" ]) (namesOf config.home.packages);
      atuin = config.programs.atuin.enable;
      inherit (config) warnings;
    };
    want = { nix = { }; aliases = { }; packages = [ "tailscale" ]; atuin = false; warnings = [ ]; };
  };
  "no key, no substituter" = {
    got = { nix = (unkeyed null).nix.settings; warns = mentions "publicKey is not set" (unkeyed null).warnings; };
    want = { nix = onlyFlakes; warns = true; };
  };
  "no malformed key reaches nix.conf" = {
    got = { nix = (unkeyed "build-server:AbCdEf...").nix.settings; warns = mentions "AbCdEf" (unkeyed "build-server:AbCdEf...").warnings; };
    want = { nix = onlyFlakes; warns = true; };
  };
  "the cache's address" = {
    got = map addressed [ "build-server" "build-server:8000" "https://host.example/api" "http://[fd7a::1]:8000" "100.64.0.1" ];
    want = [ "http://build-server:5000" "http://build-server:5000" "https://host.example:5000" "http://[fd7a::1]:5000" "http://100.64.0.1:5000" ];
  };
  "an address that is none" = { got = fails (addressed "a:b:c"); want = true; };

  # Tailscale.
  "Tailscale: an inline key warns" = {
    got = mentions "authKey is copied to the Nix store" (withKey { authKey = "tskey-auth-x"; }).warnings;
    want = true;
  };
  "Tailscale: a key file does not" = {
    got = let config = withKey { authKeyFile = "/home/me/key"; }; in {
      inherit (config) warnings;
      shown = builtins.match ".*tailscale up --auth-key .*file:/home/me/key.*" config.home.activation.tailscaleLogin.data != null;
    };
    want = { warnings = [ ]; shown = true; };
  };
  "Tailscale: a key file that is not there is not named" = {
    got = builtins.match ".*tailscaleUp='sudo tailscale up'.*-e '?/home/me/key'? .*"
      (withKey { authKeyFile = "/home/me/key"; }).home.activation.tailscaleLogin.data != null;
    want = true;
  };
  "Tailscale: a key file in the store warns" = {
    got = mentions "authKeyFile is ${builtins.storeDir}" (withKey { authKeyFile = "${builtins.storeDir}/x-flake/key"; }).warnings;
    want = true;
  };
  "Tailscale: not both" = {
    got = fails (withKey { authKey = "x"; authKeyFile = "/y"; }).home.username;
    want = true;
  };
  "Tailscale: no command where the system brings it" = {
    got = let config = home [ default { _module.args.osConfig = lib.mkForce { services.tailscale.enable = true; }; } ]; in
      builtins.elem "tailscale" (namesOf config.home.packages);
    want = false;
  };

  # The terminal.
  "terminal" = {
    got = let config = home [ full ]; in {
      zsh = config.programs.zsh.enable;
      atuin = config.programs.atuin.enable;
      aliases = config.programs.atuin.settings.dotfiles.enabled;
      neovim = config.programs.neovim.enable;
      clipboard = builtins.elem "wl-clipboard" (namesOf config.home.packages);
    };
    want = { zsh = true; atuin = true; aliases = true; neovim = true; clipboard = true; };
  };
  "terminal: off" = {
    got = let config = home [ full { programs.terminal.enable = false; } ]; in
      { zsh = config.programs.zsh.enable; atuin = config.programs.atuin.enable; };
    want = { zsh = false; atuin = false; };
  };

  "terminal: nixvim and devman, where they are among the inputs" = {
    got =
      let
        program = name: { lib, ... }: {
          options.programs.${name} = {
            enable = lib.mkOption { type = lib.types.bool; default = false; };
            defaultEditor = lib.mkOption { type = lib.types.bool; default = false; };
            viAlias = lib.mkOption { type = lib.types.bool; default = false; };
            vimAlias = lib.mkOption { type = lib.types.bool; default = false; };
          };
        };
        with' = inputs: homeWith { inherit inputs; } [ full ];
        modules = with' {
          nixvim.homeManagerModules.nixvim = program "nixvim";
          devman.homeModules.default = program "devman";
        };
        packages = with' { devman.packages.${pkgs.stdenv.hostPlatform.system}.default = pkgs.git // { pname = "devman"; }; };
      in
      {
        nixvim = modules.programs.nixvim.enable;
        neovim = [ modules.programs.neovim.enable packages.programs.neovim.enable ];
        devman = [ (modules.programs ? devman) (builtins.elem "devman" (namesOf packages.home.packages)) ];
      };
    want = { nixvim = true; neovim = [ false true ]; devman = [ true true ]; };
  };
  "each module stands by itself" = {
    got = {
      services = foldersOf (home [ (modules + "/services.nix") (syncthing { self = "laptop"; devices = { inherit (ids) desktop; }; folders = { }; }) ]);
      build-client = (home [ (modules + "/build-client.nix") (bootstrap { buildServer = { enable = true; publicKey = key; }; }) ]).nix.settings.extra-substituters;
      atuin-bootstrap = (home [ (modules + "/home.nix") (bootstrap { atuin.enable = true; }) ]).programs.atuin.enable;
      terminal = (home [ (modules + "/terminal.nix") ]).programs.zsh.enable;
      twice = (home [ default full (modules + "/services.nix") (profile "laptop") ]).home.username;
    };
    want = {
      services = {
        documents = { path = "/home/me/Documents"; devices = [ "desktop" ]; };
        dotfiles = { path = "/home/me/.config"; devices = [ "desktop" ]; };
      };
      build-client = [ "http://build-server:5000" ];
      atuin-bootstrap = true;
      terminal = true;
      twice = "me";
    };
  };

  # NixOS.
  "NixOS client" = {
    got = {
      inherit (nixosClient.nix.settings) trusted-substituters trusted-public-keys connect-timeout
        fallback narinfo-cache-negative-ttl;
      substituters = builtins.sort builtins.lessThan nixosClient.nix.settings.substituters;
      tailscale = { inherit (nixosClient.services.tailscale) enable authKeyFile; };
      server = nixosClient.services.nixbuild.settings.client.server;
      inherit (nixosClient) warnings;
    };
    want = {
      substituters = [ "http://build-server:5000" "https://cache.nixos.org/" ];
      trusted-substituters = [ "http://build-server:5000" ];
      trusted-public-keys = [ key ];
      connect-timeout = 5;
      fallback = true;
      narinfo-cache-negative-ttl = 0;
      tailscale = { enable = true; authKeyFile = "/etc/secrets/tailscale"; };
      server = "build-server";
      warnings = [ ];
    };
  };
  "NixOS client: shells load the aliases that Atuin syncs" = {
    got =
      let
        shells = config: builtins.mapAttrs
          (shell: options: mentions "/bin/nixbuild aliases --shell ${shell} --from-atuin" [ options.interactiveShellInit ])
          { inherit (config.programs) bash zsh fish; };
        config = nixos [ client (bootstrap { atuin.enable = true; }) ];
      in
      {
        on = shells config;
        atuin = builtins.elem "atuin" (namesOf config.environment.systemPackages);
        off = shells nixosClient;
      };
    want = {
      on = { bash = true; zsh = true; fish = true; };
      atuin = true;
      off = { bash = false; zsh = false; fish = false; };
    };
  };
  "NixOS client: a proxy in the place of the caches" = {
    got =
      let
        config = nixos [ client (bootstrap { buildServer = { enable = true; publicKey = key; proxy.enable = true; }; }) ];
      in
      {
        substituters = builtins.sort builtins.lessThan config.nix.settings.substituters;
        inherit (config.nix.settings) trusted-substituters trusted-public-keys narinfo-cache-negative-ttl;
        inherit (config.services.nixbuild.settings.proxy) upstream;
        packages = namesOf config.systemd.packages;
        sockets = lib.mapAttrs (_: unit: unit.wantedBy) config.systemd.sockets;
        inherit (config.systemd.services.nixbuild-proxy) wantedBy;
        withoutIt = nixosClient.systemd.services;
      };
    want = {
      substituters = [ "http://127.0.0.1:5001" "https://cache.nixos.org/" ];
      trusted-substituters = [ "http://127.0.0.1:5001" ];
      trusted-public-keys = [ key ];
      narinfo-cache-negative-ttl = 0;
      upstream = [ "http://build-server:5000" ];
      packages = [ "nixbuild" ];
      sockets.nixbuild-proxy = [ "sockets.target" ];
      wantedBy = [ "multi-user.target" ];
      withoutIt = { };
    };
  };
  "NixOS client: a peer of other machines" = {
    got =
      let
        config = nixos [ client (bootstrap { buildServer = { enable = true; publicKey = key; peer.enable = true; }; }) ];
      in
      {
        packages = namesOf config.systemd.packages;
        inherit (config.systemd.services.nixbuild-peer) wantedBy serviceConfig;
        ports = config.networking.firewall.interfaces.tailscale0.allowedTCPPorts;
        onServer = (nixos [
          buildServer
          client
          { services.nixbuild.enable = true; }
          (bootstrap { buildServer = { enable = true; publicKey = key; peer.enable = true; }; })
        ]).systemd.services ? nixbuild-peer;
      };
    want = {
      packages = [ "nixbuild" ];
      wantedBy = [ "multi-user.target" ];
      serviceConfig = { DynamicUser = true; User = "nixbuild-peer"; Group = "nixbuild-peer"; };
      ports = [ 5000 ];
      onServer = false;
    };
  };
  "NixOS server: users are those of sysusers.d" = {
    got = {
      users = lib.mapAttrs (_: user: { inherit (user) isSystemUser group extraGroups home; }) nixosServer.users.users;
      groups = builtins.attrNames nixosServer.users.groups;
    };
    want = {
      users = {
        nixbuild-api = { isSystemUser = true; group = "nixbuild-api"; extraGroups = [ "nixbuild" ]; home = "/var/lib/nixbuild"; };
        nixbuild-build = { isSystemUser = true; group = "nixbuild-build"; extraGroups = [ "nixbuild" ]; home = "/var/lib/nixbuild/home"; };
        nixbuild-cache = { isSystemUser = true; group = "nixbuild-cache"; extraGroups = [ "nixbuild" ]; home = "/var/lib/nixbuild"; };
      };
      groups = [ "nixbuild" "nixbuild-api" "nixbuild-build" "nixbuild-cache" ];
    };
  };
  "NixOS server: listens on the interface whose ports are open" = {
    got =
      let config = nixos [ buildServer { services.nixbuild.enable = true; services.tailscale.interfaceName = "ts1"; } ];
      in {
        firewall = config.networking.firewall.interfaces;
        settings = config.services.nixbuild.settings;
        byDefault = nixosServer.services.nixbuild.settings;
      };
    want = {
      firewall.ts1.allowedTCPPorts = [ 5000 8000 ];
      settings.tailscale_interface = "ts1";
      byDefault = { };
    };
  };
  "NixOS server: units, polkit, firewall, gc" = {
    got = {
      packages = namesOf nixosServer.systemd.packages;
      tmpfiles = namesOf nixosServer.systemd.tmpfiles.packages;
      system = namesOf nixosServer.environment.systemPackages;
      polkit = nixosServer.security.polkit.enable;
      sockets = lib.mapAttrs (_: unit: unit.wantedBy) nixosServer.systemd.sockets;
      services = map (name: nixosServer.systemd.services.${name}.wantedBy) [ "nixbuild-api" "nixbuild-cache" ];
      builds = { path = namesOf nixosServer.systemd.services."nixbuild-build@".path; inherit (nixosServer.systemd.services."nixbuild-build@") restartIfChanged; };
      firewall = nixosServer.networking.firewall.interfaces;
      gc = nixosServer.nix.gc;
      optimise = nixosServer.nix.optimise.automatic;
      features = nixosServer.nix.settings.experimental-features;
      configuration = nixosServer.environment.etc;
    };
    want = {
      packages = [ "nixbuild" ];
      tmpfiles = [ "nixbuild" ];
      system = [ "nixbuild" ];
      polkit = true;
      sockets = { nixbuild-api = [ "sockets.target" ]; nixbuild-cache = [ "sockets.target" ]; };
      services = [ [ "multi-user.target" ] [ "multi-user.target" ] ];
      builds = { path = [ "nix" "git" "git-lfs" "openssh" ]; restartIfChanged = false; };
      firewall.tailscale0.allowedTCPPorts = [ 5000 8000 ];
      gc = { automatic = true; dates = "weekly"; };
      optimise = true;
      features = [ "nix-command" "flakes" ];
      configuration = { };
    };
  };
  "NixOS server: all options" = {
    got = {
      credential = fullServer.systemd.services.nixbuild-cache.serviceConfig.LoadCredential;
      hidden = map (name: fullServer.systemd.services.${name}.serviceConfig.InaccessiblePaths) [ "nixbuild-build@" "nixbuild-api" ];
      token = { inherit (fullServer.systemd.services.nixbuild-api) environment; inherit (fullServer.systemd.services.nixbuild-api.serviceConfig) LoadCredential; };
      credentials = fullServer.systemd.services."nixbuild-build@nix-terminal";
      generated = fullServer.systemd.services.nixbuild-key.enable;
      builders = { inherit (fullServer.nix) distributedBuilds buildMachines; };
      emulated = fullServer.boot.binfmt.emulatedSystems;
      settings = fullServer.services.nixbuild.settings;
      restarts = builtins.length fullServer.systemd.services.nixbuild-api.restartTriggers;
      tailscale = fullServer.services.tailscale.enable;
    };
    want = {
      credential = [ "" "cache-key:/run/secrets/cache-key" ];
      hidden = let files = [ "-/run/secrets/cache-key" "-/run/secrets/token" ]; in [ files files ];
      token = { environment.NIXBUILD_API_TOKEN_FILE = "%d/token"; LoadCredential = [ "token:/run/secrets/token" ]; };
      credentials = {
        overrideStrategy = "asDropin";
        restartIfChanged = false;
        serviceConfig.LoadCredential = [ "access_tokens_file:/run/secrets/tokens" "ssh_key_file:/run/secrets/deploy-key" ];
      };
      generated = false;
      builders = { distributedBuilds = true; buildMachines = [{ hostName = "mac"; systems = [ "aarch64-darwin" ]; }]; };
      emulated = [ "aarch64-linux" ];
      settings = {
        client = { server = "build-server"; record_keys = [ key ]; };
        repository = [{ name = "nix-terminal"; url = "https://example.org/nix-terminal"; }];
      };
      restarts = 1;
      tailscale = false;
    };
  };
  "NixOS server: off by itself" = {
    got = let config = nixos [ buildServer ]; in { inherit (config.users) users; inherit (config.systemd) packages; };
    want = { users = { }; packages = [ ]; };
  };
  "NixOS-WSL keeps Windows programs running" = {
    got = map (systems: (onWsl systems).wsl.interop.register) [ [ ] [ "aarch64-linux" ] ];
    want = [ false true ];
  };
}
