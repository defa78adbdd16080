/*
 * Sockets: the names by which the fields of the common part are known, and the way from one kind of socket to another.
 * The short names are visible only to programs that include the header which defines them: any program may call a
 * member of its own sk_family.
 */
#pragma tsbcc visible_with net/sock.h
#define sk_node __sk_common.skc_node
#define sk_nulls_node __sk_common.skc_nulls_node
#define sk_refcnt __sk_common.skc_refcnt
#define sk_tx_queue_mapping __sk_common.skc_tx_queue_mapping
#define sk_rx_queue_mapping __sk_common.skc_rx_queue_mapping
#define sk_hash __sk_common.skc_hash
#define sk_portpair __sk_common.skc_portpair
#define sk_num __sk_common.skc_num
#define sk_dport __sk_common.skc_dport
#define sk_addrpair __sk_common.skc_addrpair
#define sk_daddr __sk_common.skc_daddr
#define sk_rcv_saddr __sk_common.skc_rcv_saddr
#define sk_family __sk_common.skc_family
#define sk_state __sk_common.skc_state
#define sk_reuse __sk_common.skc_reuse
#define sk_reuseport __sk_common.skc_reuseport
#define sk_ipv6only __sk_common.skc_ipv6only
#define sk_net_refcnt __sk_common.skc_net_refcnt
#define sk_bound_dev_if __sk_common.skc_bound_dev_if
#define sk_bind_node __sk_common.skc_bind_node
#define sk_prot __sk_common.skc_prot
#define sk_net __sk_common.skc_net
#define sk_v6_daddr __sk_common.skc_v6_daddr
#define sk_v6_rcv_saddr __sk_common.skc_v6_rcv_saddr
#define sk_cookie __sk_common.skc_cookie
#define sk_incoming_cpu __sk_common.skc_incoming_cpu
#define sk_flags __sk_common.skc_flags
#define sk_rxhash __sk_common.skc_rxhash
#define sk_rmem_alloc sk_backlog.rmem_alloc

#pragma tsbcc visible_with net/inet_sock.h
#define inet_daddr sk.__sk_common.skc_daddr
#define inet_rcv_saddr sk.__sk_common.skc_rcv_saddr
#define inet_dport sk.__sk_common.skc_dport
#define inet_num sk.__sk_common.skc_num
#define ir_loc_addr req.__req_common.skc_rcv_saddr
#define ir_rmt_addr req.__req_common.skc_daddr
#define ir_num req.__req_common.skc_num
#define ir_rmt_port req.__req_common.skc_dport
#define ir_v6_rmt_addr req.__req_common.skc_v6_daddr
#define ir_v6_loc_addr req.__req_common.skc_v6_rcv_saddr
#define ir_iif req.__req_common.skc_bound_dev_if
#define ir_cookie req.__req_common.skc_cookie
#define ireq_net req.__req_common.skc_net
#define ireq_state req.__req_common.skc_state
#define ireq_family req.__req_common.skc_family

#pragma tsbcc visible_with net/request_sock.h
#define rsk_refcnt __req_common.skc_refcnt
#define rsk_hash __req_common.skc_hash
#define rsk_listener __req_common.skc_listener
#define rsk_window_clamp __req_common.skc_window_clamp
#define rsk_rcv_wnd __req_common.skc_rcv_wnd

#pragma tsbcc visible_with net/inet_timewait_sock.h
#define tw_family __tw_common.skc_family
#define tw_state __tw_common.skc_state
#define tw_reuse __tw_common.skc_reuse
#define tw_reuseport __tw_common.skc_reuseport
#define tw_ipv6only __tw_common.skc_ipv6only
#define tw_bound_dev_if __tw_common.skc_bound_dev_if
#define tw_node __tw_common.skc_nulls_node
#define tw_bind_node __tw_common.skc_bind_node
#define tw_refcnt __tw_common.skc_refcnt
#define tw_hash __tw_common.skc_hash
#define tw_prot __tw_common.skc_prot
#define tw_net __tw_common.skc_net
#define tw_daddr __tw_common.skc_daddr
#define tw_v6_daddr __tw_common.skc_v6_daddr
#define tw_rcv_saddr __tw_common.skc_rcv_saddr
#define tw_v6_rcv_saddr __tw_common.skc_v6_rcv_saddr
#define tw_dport __tw_common.skc_dport
#define tw_num __tw_common.skc_num
#define tw_cookie __tw_common.skc_cookie
#define tw_dr __tw_common.skc_tw_dr
#define tw_rcv_nxt tw_sk.__tw_common.skc_tw_rcv_nxt
#define tw_snd_nxt tw_sk.__tw_common.skc_tw_snd_nxt
#pragma tsbcc visible_with all

/* a pointer to the common part is a pointer to the whole: each kind of socket begins with the one it extends */
#define inet_sk(sk) ((struct inet_sock *)(sk))
#define inet_csk(sk) ((struct inet_connection_sock *)(sk))
#define tcp_sk(sk) ((struct tcp_sock *)(sk))
#define udp_sk(sk) ((struct udp_sock *)(sk))
#define raw_sk(sk) ((struct raw_sock *)(sk))
#define raw6_sk(sk) ((struct raw6_sock *)(sk))
#define unix_sk(sk) ((struct unix_sock *)(sk))
#define nlk_sk(sk) ((struct netlink_sock *)(sk))
#define inet_rsk(request) ((struct inet_request_sock *)(request))
#define tcp_rsk(request) ((struct tcp_request_sock *)(request))
#define inet_reqsk(sk) ((struct request_sock *)(sk))
#define inet_twsk(sk) ((struct inet_timewait_sock *)(sk))
#define tcp_twsk(sk) ((struct tcp_timewait_sock *)(sk))
#define pkt_sk(sk) ((struct packet_sock *)(sk))
#define inet6_sk(sk) (((struct inet_sock *)(sk))->pinet6)
#define tcp_in_slow_start(tp) ((tp)->snd_cwnd < (tp)->snd_ssthresh)
#define SOCK_INODE(socket) (&container_of(socket, struct socket_alloc, socket)->vfs_inode)
#define SOCKET_I(inode) (&container_of(inode, struct socket_alloc, vfs_inode)->socket)

/* network namespaces: without CONFIG_NET_NS the pointer is not there */
#define read_pnet(pointer) ((pointer)->net)
#define sock_net(sk) ((sk)->__sk_common.skc_net.net)
#define dev_net(dev) ((dev)->nd_net.net)

/* addresses that older kernels know under another name */
#define sockaddr_storage __kernel_sockaddr_storage
#define ipv6_addr_any(address) (((address)->in6_u.u6_addr32[0] | (address)->in6_u.u6_addr32[1] | (address)->in6_u.u6_addr32[2] | (address)->in6_u.u6_addr32[3]) == 0)
#define ipv6_addr_v4mapped(address) (((address)->in6_u.u6_addr32[0] | (address)->in6_u.u6_addr32[1]) == 0 && (address)->in6_u.u6_addr32[2] == __builtin_bswap32(0xffff))
#define ipv6_addr_loopback(address) (((address)->in6_u.u6_addr32[0] | (address)->in6_u.u6_addr32[1] | (address)->in6_u.u6_addr32[2]) == 0 && (address)->in6_u.u6_addr32[3] == __builtin_bswap32(1))
#define s6_addr in6_u.u6_addr8
#define s6_addr16 in6_u.u6_addr16
#define s6_addr32 in6_u.u6_addr32

/* states as bits of a mask; BTF has the states */
#define TCPF_ESTABLISHED (1 << TCP_ESTABLISHED)
#define TCPF_SYN_SENT (1 << TCP_SYN_SENT)
#define TCPF_SYN_RECV (1 << TCP_SYN_RECV)
#define TCPF_FIN_WAIT1 (1 << TCP_FIN_WAIT1)
#define TCPF_FIN_WAIT2 (1 << TCP_FIN_WAIT2)
#define TCPF_TIME_WAIT (1 << TCP_TIME_WAIT)
#define TCPF_CLOSE (1 << TCP_CLOSE)
#define TCPF_CLOSE_WAIT (1 << TCP_CLOSE_WAIT)
#define TCPF_LAST_ACK (1 << TCP_LAST_ACK)
#define TCPF_LISTEN (1 << TCP_LISTEN)
#define TCPF_CLOSING (1 << TCP_CLOSING)
