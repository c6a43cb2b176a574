{
  system = "x86_64-linux";
  user = "ann";
  # Where this machine keeps its secrets, which git ignores.
  secrets = "/home/ann/nix/secrets/new-laptop.nix";
}
