# in.elastic, the potential: read again for each strain. Stresses want double precision.

pair_style      jaxff precision double
pair_coeff      * * Si.jaxff Si
neighbor        1.0 nsq
neigh_modify    every 1 delay 0 check yes

min_style       cg
min_modify      norm max
thermo          0
thermo_style    custom step pe press pxx pyy pzz pyz pxz pxy fmax
