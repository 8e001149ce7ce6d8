"""Names of programs, so that one that is not installed is still known for a command. Names that are also everyday words are apart."""

from __future__ import annotations

PROGRAMS = frozenset(
    """
7z 7za VBoxManage a2enmod a2ensite aa-status ab abcde acme.sh acpi act adb adduser adsys afconvert ag age agrep aircrack-ng
airmon-ng alacritty alembic alias alien alsamixer altool amass amixer ansible ansible-doc ansible-galaxy ansible-playbook
ansible-vault ant antibody apachectl apk aplay appimagetool apropos apt apt-cache apt-file apt-get apt-key apt-mark aptitude
arch-chroot arecord argocd aria2c arp arping as asciidoctor asciinema asdf aspell assimp astyle at atom atop atq atrm auditctl
augenrules ausearch authconfig autoconf automake autorandr autoreconf autossh avahi-browse avconv awk aws awslogs az b2 babel
bandwhich base32 base64 basename bash bashcov bashtop bat batcat bazel bazelisk bc bcache bcftools beet bg biber bibtex bind bison
black blkid blockdev bmon borg bower bpftrace brctl brew brew-cask broot brotli btop btrfs buf buildah builtin bun bundle bundler
bundletool bunzip2 busybox byobu bzcat bzip2 c++ cabal caddy calibredb cargo cargo-edit cargo-watch catimg cc ccache ccls ccze cd
cdargs cdk cdparanoia cdrecord certbot cfdisk cgdb chage charm chcon cheat checkinstall chef chezmoi chgrp chisel chkconfig chmod
chntpw choco chown chpasswd chronyc chroot chrt chsh circleci cksum clamscan clang clang-format clang-tidy clearlogs clj clojure
cloudflared cmake cmatrix cmp cmus cntr cocoapods code codesign codium col colordiff column comm compgen complete composer conan
conda consul copilot cowsay cp cpan cpanel cpanm cpio cpp cpupower crane crc32 crictl cron crontab cryptsetup cscope csh csplit
csvcut csvgrep csvkit csvlook csvsort csvstat csvtool ctags ctest ctop ctr cue cups curl curlie cvs cwebp cxxfilt cypress dart dasel
datamash dbus-send dc dcb dconf dd ddrescue debconf debootstrap debsums declare delta deno depmod devbox devlink df dfc dh_make
dhclient diff diffstat dig direnv dirname dirs diskutil disown ditto dive djpeg dkms dlv dmesg dmidecode dmsetup dnf dnsmasq
dnsrecon dnstracer doas docker docker-compose docker-machine dockerd doctl dog dolphin dolt dos2unix dot dotnet doxygen dpkg
dpkg-deb dpkg-query dpkg-reconfigure dprint drill drone dropdb drush dstat dtach du duckdb duf dumpe2fs dunst dunstctl dust dvc
dvipdf e2fsck earthly ebook-convert ebtables echo ecryptfs-mount-private ed egrep eksctl elinks elixir emacs emacsclient emerge
enscript entr enum4linux env erb erl esbuild eslint espeak etcdctl ethtool eval evince ex exa exec exfatlabel exiftool exim exit
expect export expr eyed3 eza faac facter factor fail2ban-client faillock fakeroot fallocate false fastboot fastfetch fastlane fbset
fc fc-cache fc-list fd fdfind fdisk fdupes feh ffmpeg ffplay ffprobe ffuf fg fgrep figlet filebeat filezilla findmnt firebase
firefox firewall-cmd fish flac flake8 flarectl flatpak flutter fly flyctl fmt foremost fossil fping fprintd-enroll free freshclam
frp fsck fselect fstrim fswatch ftp fuser fusermount fvm fwupdmgr fx fzf g++ gatsby gau gawk gcc gcloud gcov gdal_translate gdb
gdebi gdu geckodriver gem gem2deb genfstab genisoimage getcap getconf getent getfacl getopt getopts gh ghc ghci ghostscript gimp
gist git git-lfs gita gitk gitlab gitlab-runner gitleaks gitui gitversion glab glances glow glxgears gnome-terminal gnuplot go
goaccess gobuster gocryptfs godot gofmt goimports golangci-lint google-chrome gopass goreleaser gparted gpasswd gpg gpg2 gpgconf
gpgv gpick gprof gpustat gradle gradlew grafana-cli grep grex groff gron groupadd groupdel groupmod groups growpart grpcurl
grub-install grub-mkconfig grype gs gsettings gsutil gtk-launch gulp gunicorn gunzip gzip hadolint hadoop halt hash hashcat
hciconfig hdfs hdparm helix helm helmfile heroku hexdump hexyl hg highlight history hledger hledger-ui host hostname hostnamectl
hping3 htmlq htop htpasswd http httpd httpie httping https hub hugo hurl hwclock hx hxn hydra hyperfine hyprctl i3-msg i3lock
ibmcloud icdiff iconv id identify ifconfig ifdown iftop ifup imagemagick img2pdf influx inkscape inotifywait inotifywatch insmod
invoke-rc.d ionice iostat iotop ip ip6tables ipcalc ipcrm ipcs iperf iperf3 ipfs ipmitool ipset iptables iptables-save iptraf-ng
ipython irb irssi isort istioctl iw iwconfig iwctl iwlist j2 jar java javac javadoc jc jdupes jekyll jello jest jhead jj jnettop jo
jobs john joshuto journalctl jpegoptim jps jq jrnl jshell julia jupyter just just-install k3d k3s k6 k9s kafka-console-consumer
kafka-topics kcat kdeconnect-cli kexec keybase keytool killall kind kitty kops kpartx ksh kubeadm kubectl kubectx kubens kubeseal
kustomize kustomize2 lame last lastb lastlog lastpass-cli latex latexmk lazydocker lazygit lbzip2 ld ldapadd ldapmodify ldapsearch
ldconfig ldd ledger lein lerna less lftp libreoffice lighttpd ln lnav locale locale-gen localectl logcli logger loginctl logrotate losetup
lp lpadmin lpq lpr lprm lpstat ls lsattr lsb_release lsblk lscpu lsd lshw lsinitramfs lsipc lsmod lsns lsof lspci lsusb lsyncd
ltrace lua luac luarocks lvcreate lvdisplay lvextend lvremove lvresize lvs lxc lxd lynx lz4 lz4cat lzma m4 macchanger macvim magick
mailq mailx mamba man mapfile mariadb mas masscan maturin mawk mc mcli md5sum mdadm mdbook mdcat mdfind mdls mediainfo mediamtx meld
memcached meson micro micromamba minicom minikube miniserve mise mitmproxy mix mkcert mkdir mkdocs mkfifo mkfs mkfs.ext4 mkisofs
mknod mkpasswd mkswap mktemp mkvextract mkvmerge mkvpropedit mlr mmdc mocha mocp modinfo modprobe mogrify molecule mongo mongod
mongodump mongoexport mongoimport mongorestore mongosh monit mono mosh mosquitto mosquitto_pub mosquitto_sub mount mountpoint mpack
mpc mpd mplayer mpv msfconsole msmtp mt mtools mtr multipass multitail mupdf mutt mv mvn mvnw mycli mypy mypyc mysql mysqladmin
mysqldump mysqlimport nano nasm nats navi nawk nbtscan nc ncal ncat ncdu ncftp ncmpcpp ncu ndiff neato neofetch neomutt net netcat
nethogs netlify netplan netstat networkctl newgrp newman newsboat nft nginx ngrep ngrok nikto nim nitrogen nix nix-build nix-channel
nix-collect-garbage nix-env nix-shell nixos-rebuild nl nload nm nmap nmblookup nmcli nmtui node nodejs nodemon nohup nomad
notify-send notmuch nox npm npm-check nproc npx nroff nslookup ntfsfix ntpdate ntpq nu nuget numactl numfmt nushell nvidia-smi nvim
nvm nvtop nyc oathtool objcopy objdump oc ocaml ocrmypdf octave od offlineimap ogr2ogr okular ollama onefetch op opam openscad
openssl openvpn opkg optipng osascript osqueryi otool ouch packer pacman pacmd pacstrap pactl pamac paman pamixer pandoc paps parted
partprobe paru passwd pastel patchelf pbcopy pbpaste pdfcrop pdfgrep pdfimages pdfinfo pdflatex pdfseparate pdftk pdftocairo
pdftoppm pdftotext pdfunite pdm peco perf perl perldoc pfctl pg_basebackup pg_ctl pg_dump pg_dumpall pg_isready pg_restore pgbench
pgcli pgrep phoronix-test-suite php phpstan phpunit picocom pidgin pidof pidstat pigz ping6 pint pip pip-compile pip3 pipdeptree
pipenv pipx pkexec pkg pkg-config pkill playerctl playwright plocate plutil pm2 pmap pngcrush pngquant pnpm podchecker podman
podman-compose poetry polybar ponysay popd port postfix postgres postgrest postmap poweroff powertop ppm pppd pprof pr pre-commit
prettier printenv printf procmail procs prometheus promtool protoc proxychains prtstat ps pscp psql pstack pstree psutil ptx pueue
pulseaudio pulsemixer pulumi puppet pushd pv pv2 pvcreate pvdisplay pvs pwd pwdx pwgen pwsh py pycodestyle pydoc pyenv pygmentize
pyinstaller pylint pypy3 pyright pytest python python2 python3 qalc qemu-img qemu-system-x86_64 qmake qpdf qrencode qtcreator quarto
quota r2 rabbitmqctl racket rails rake ranger rawtherapee rbenv rbw rclone rdesktop readelf readlink readonly realpath reboot recode
redis-cli redis-server reflector rehash rename renice repo resize2fs restic rev rfkill rg ripgrep rkhunter rlp rlwrap rm rmdir rmmod
rofi ronn route rpm rpm2cpio rpmbuild rsnapshot rsvg-convert rsync rsyslogd rtorrent rubocop ruby ruff rustc rustfmt rustscan rustup
rvm rye s3cmd sad samtools sar sass sbt scala scalac scanimage scons scoop scp scrapy scrcpy screenfetch scrot sd sdiff sdkman sed
semanage semgrep sensors seq ser2net serverless sestatus setcap setenforce setfacl setsid setterm setxkbmap sfdisk sftp sgdisk sh
sha1sum sha256sum sha512sum shellcheck shfmt shopt shotgun showmount shred shuf shutdown sips sk skaffold skim skopeo sl slapcat
sleep slop smartctl smartd smbclient smbmap smbpasswd smem snap snapper snort socat softwareupdate solana sops source sox spack
spark-submit speedtest speedtest-cli sphinx-build sponge sqlcmd sqlfluff sqlite sqlite3 sqlmap sqlplus sqlx ss ssh ssh-add ssh-agent
ssh-audit ssh-copy-id ssh-keygen ssh-keyscan sshd sshfs sshpass sslscan stack starship stat stdbuf steam stern stow strace
streamlink stress stress-ng strip stty stylelint su subl sudo sudoedit supervisorctl surge svn svnadmin swaks swapoff swapon
swaylock swaymsg swift sxiv syft symfony syncthing sysbench sysctl sysstat systemctl systemd-analyze systemd-run systeminfo t tac
tailscale tailspin tailwindcss taplo tar task taskset tc tcpdump tcpflow tcpslice tcptraceroute tea tee telegraf telnet terraform
terragrunt tesseract testdisk tex texdoc textql tfenv tflint tftp thunar tidy-viewer tig tig2 tilt timedatectl tint tldr tlp tmate
tmux tmuxinator tofu toilet tokei tox tput tr tracepath traceroute transmission-cli transmission-remote trash trash-empty trash-put
tre-command tree trivy trufflehog ts tsc tshark tsort tsx tty ttyd tune2fs turbo twine typeset tzdata tzselect ubuntu-drivers
udevadm udisksctl ufw uglifyjs ugrep ulimit umask umount unalias uname unar unbuffer unexpand unfunction uniq unison unix2dos unlink
unlzma unoconv unrar unset unshare unsquashfs unxz unzip update-alternatives update-grub update-initramfs upower uptime uptimed upx
urlencode usbip uscan useradd userdel usermod uuidgen uv uvicorn uvx uwsgi v4l2-ctl vagrant vainfo valgrind varnishd vault
vboxmanage vcgencmd vcpkg vd vegeta vercel vgcreate vgdisplay vgextend vgs vhs vi viddy view vifm vim vimdiff vipw virsh
virt-install virt-manager virtualenv visidata visudo vite vitest vkcube vlc vmstat vncserver volta vopono vpnc vue w3m wakeonlan
wasm-pack watchexec watchman wc wdiff weasyprint webpack weechat wezterm wg wg-quick wget whatis whereis whiptail whoami whois wine
wireshark wkhtmltopdf wl-copy wl-paste wmctrl wp wpa_cli wpa_supplicant wpctl wrangler wrk wsl x11vnc xargs xbacklight xbps-install
xclip xcode-select xcodebuild xcrun xdg-mime xdg-open xdg-settings xdotool xev xeyes xfce4-terminal xinit xinput xkill xmllint
xmlstarlet xmodmap xonsh xplr xprop xrandr xrdb xsel xset xsltproc xsv xterm xwininfo xxd xxh xz xzcat yad yadm yamllint yank yapf
yarn yay ydotool ykman yosys youtube-dl yq yt-dlp yum zathura zbarimg zcat zdiff zellij zenity zerotier-cli zfs zgrep zig zim zip
zipinfo zless zmv zola zopfli zoxide zpool zramctl zsh zstd zsync zutty zypper
""".split()
)

# Programs that people name in sentences too: their name alone says little, the rest of the line decides.
EVERYDAY = frozenset(
    """
accept aggregate apply arch archive ask at banner batch become block book build cal calendar call cat chat check clean clear close
cluster code comment compare compose convert copy create cut date delete deploy dict discard display do download draft edit eject
enable exit expand export factor fetch file find finger fix fold follow for format free function generate get give go halt head help
history host identify if import info insert inspect install join keep kill last launch lead let link list load locate log login look
lookup mail make man mark mesg message montage more move name net next note notes open outline paste patch pause ping plan play
point post prepare print prompt prune pull push quit rate read recall record remind remove rename replace report reset restart
resume return review rotate route run save say scan schedule screen script search select send serve set share shift show sign skip
sleep sort source speak spell split start stat status stop store stream strip sum suspend sync tail talk task tell test then tidy
tile time todo top touch track translate trap tree trust try type units until up update upgrade upload use users view wait wall
watch where which while who write yes
""".split()
)

# Of these, the ones that every Unix has: even in a sentence, they are first of all programs.
TRADITIONAL = frozenset(
    """
at cal cat clear cut date file find finger head history host import info join kill last less let look mail make man more ping read
screen service set sleep sort split strip tail talk test time top touch type units view wait wall watch which who write yes
""".split()
)
