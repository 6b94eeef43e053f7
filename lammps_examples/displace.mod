# in.elastic, one strain (variable direction: 1 to 6 for xx, yy, zz, yz, xz, xy) with both signs: a column of the matrix.

variable        sign index -1 1
label           next_sign
clear
read_restart    elastic.restart
include         potential.mod

# A shear moves the tilt by strain times the length it goes along, and with it the tilts that lie in its plane.
variable        d equal ${sign}*${strain}
if "${direction} == 1" then "change_box all x scale $(1+v_d) xy final $(xy*(1+v_d)) xz final $(xz*(1+v_d)) remap units box"
if "${direction} == 2" then "change_box all y scale $(1+v_d) yz final $(yz*(1+v_d)) remap units box"
if "${direction} == 3" then "change_box all z scale $(1+v_d) remap units box"
if "${direction} == 4" then "change_box all yz delta $(v_d*lz) remap units box"
if "${direction} == 5" then "change_box all xz delta $(v_d*lz) remap units box"
if "${direction} == 6" then "change_box all xy delta $(v_d*ly) xz delta $(v_d*yz) remap units box"
minimize        0 ${force} 1000 10000

# LAMMPS gives pressures: stress is their negative.
if "${sign} == -1" then &
  "variable s1 equal $(-pxx:%.15g)" "variable s2 equal $(-pyy:%.15g)" "variable s3 equal $(-pzz:%.15g)" &
  "variable s4 equal $(-pyz:%.15g)" "variable s5 equal $(-pxz:%.15g)" "variable s6 equal $(-pxy:%.15g)" &
else &
  "variable c1${direction} equal $((-pxx-v_s1)*v_gpa/(2*v_strain):%.15g)" &
  "variable c2${direction} equal $((-pyy-v_s2)*v_gpa/(2*v_strain):%.15g)" &
  "variable c3${direction} equal $((-pzz-v_s3)*v_gpa/(2*v_strain):%.15g)" &
  "variable c4${direction} equal $((-pyz-v_s4)*v_gpa/(2*v_strain):%.15g)" &
  "variable c5${direction} equal $((-pxz-v_s5)*v_gpa/(2*v_strain):%.15g)" &
  "variable c6${direction} equal $((-pxy-v_s6)*v_gpa/(2*v_strain):%.15g)"
next            sign
jump            displace.mod next_sign
