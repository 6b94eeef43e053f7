// Entry point that LAMMPS calls when it opens jaxffplugin.so.

#include "pair_jaxff.h"

// LAMMPS does not install lammpsplugin.h; this is its documented layout (Developer guide, "Writing plugins").
extern "C" {
typedef void *(*lammpsplugin_factory1)(void *);
typedef void *(*lammpsplugin_factory2)(void *, int, char **);

struct lammpsplugin_t {
  const char *version, *style, *name, *info, *author;
  union {
    lammpsplugin_factory1 v1;
    lammpsplugin_factory2 v2;
  } creator;
  void *handle;
};
typedef void (*lammpsplugin_regfunc)(lammpsplugin_t *, void *);
}

static void *create_pair(void *lammps)
{
  return static_cast<LAMMPS_NS::Pair *>(new LAMMPS_NS::PairJaxff(static_cast<LAMMPS_NS::LAMMPS *>(lammps)));
}

extern "C" __attribute__((visibility("default"))) const char jaxff_lammps_version[] = JAXFF_LAMMPS_VERSION;

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void *lammps, void *handle, void *regfunc)
{
  lammpsplugin_t plugin;
  plugin.version = jaxff_lammps_version;
  plugin.style = "pair";
  plugin.name = "jaxff";
  plugin.info = "machine-learned force fields written in JAX (.jaxff files)";
  plugin.author = "the jaxff developers";
  plugin.creator.v1 = &create_pair;
  plugin.handle = handle;
  reinterpret_cast<lammpsplugin_regfunc>(regfunc)(&plugin, lammps);
}
